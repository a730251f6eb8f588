"""Stops a cluster's pods gracefully before their nodes, and unmounts what a killed node left."""

import logging
import re
import subprocess
from pathlib import Path
from typing import Any

from sea_devcluster.api import KubeApi
from sea_devcluster.errors import ApiError, DevclusterError, StartError
from sea_devcluster.waiting import wait_until

log = logging.getLogger(__name__)

MAX_GRACE_SECONDS = 10
"""Pods may ask for minutes; a person who types `down` waits no longer than this."""


def grace_of(pod: dict[str, Any], limit: int = MAX_GRACE_SECONDS) -> int:
    """A pod's grace period in seconds, at most `limit`."""
    return min(int(pod["spec"].get("terminationGracePeriodSeconds", 30)), limit)


def delete_pods(api: KubeApi) -> None:
    """Deletes every pod and waits until the nodes have stopped them; gives up quietly.

    Controllers must have been stopped before, or they would create new ones.
    """
    try:
        pods = api.get("/api/v1/pods")["items"]
        # All at once: they end concurrently within one grace period.
        for pod in pods:
            _delete(api, pod)
        if pods:
            wait_until(
                lambda: not api.get("/api/v1/pods")["items"],
                what="the pods to end",
                # The grace period, and a moment for the nodes to report the end.
                timeout=MAX_GRACE_SECONDS + 5.0,
                interval=0.2,
            )
    except (ApiError, OSError, StartError) as error:
        log.debug("The nodes will end the remaining pods: %s", error)


def mounts_below(mountinfo: str, folder: Path) -> list[Path]:
    """Mount points inside `folder`, deepest first, from the text of /proc/self/mountinfo."""
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines() if line]
    inside = [point for point in points if point != folder and point.is_relative_to(folder)]
    return sorted(inside, key=lambda point: len(point.parts), reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmounts what a killed node may have left: else removing `folder` would delete its content.

    Raises:
        DevclusterError: Something cannot be unmounted.
    """
    for point in mounts_below(Path("/proc/self/mountinfo").read_text(), folder):
        done = subprocess.run(
            # Lazy: a process that still uses the mount must not block `down`.
            ["umount", "--lazy", str(point)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode != 0:
            raise DevclusterError(
                f"{point} is still mounted and cannot be unmounted ({done.stderr.strip()}); "
                f"run `sudo umount --lazy {point}` and then `down` again."
            )


def _delete(api: KubeApi, pod: dict[str, Any]) -> None:
    metadata = pod["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    try:
        api.request("DELETE", f"{path}?gracePeriodSeconds={grace_of(pod)}")
    except ApiError as error:
        if error.status != 404:
            raise


def _unescape(text: str) -> str:
    """The kernel writes blanks and backslashes as octal numbers, and UTF-8 as it is."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
