"""Ending a cluster's pods politely before their node is stopped, and what might be left after."""

import logging
import re
import subprocess
from pathlib import Path
from typing import Any

from sea_devcluster.api import KubeApi
from sea_devcluster.controlplane import ControlPlane
from sea_devcluster.errors import ApiError, DevclusterError, RecordError, StartError
from sea_devcluster.waiting import wait_until

log = logging.getLogger(__name__)

GRACE_LIMIT_SECONDS = 10
"""Pods may ask for minutes; a person who types `down` waits this long."""


def grace_of(pod: dict[str, Any], limit: int = GRACE_LIMIT_SECONDS) -> int:
    """Seconds that a pod gets: its own grace period, or the limit if that is shorter."""
    return min(int(pod["spec"].get("terminationGracePeriodSeconds", 30)), limit)


def answering(plane: ControlPlane) -> KubeApi | None:
    """The API server if it can be asked: its keys may be broken, and `down` must go on."""
    try:
        return plane.api if plane.api.ready() else None
    except (OSError, LookupError, RecordError) as error:
        log.debug("The API server cannot be asked: %s", error)
        return None


def delete_pods(api: KubeApi) -> None:
    """Deletes every pod and waits until the nodes have ended them; gives up quietly.

    Controllers must have been stopped, or they would make new ones.
    """
    try:
        pods = api.get("/api/v1/pods")["items"]
        for pod in pods:
            _delete(api, pod)
        if pods:
            wait_until(
                lambda: not api.get("/api/v1/pods")["items"],
                what="the pods to end",
                timeout=GRACE_LIMIT_SECONDS + 5.0,
                interval=0.2,
            )
    except (ApiError, OSError, StartError) as error:
        log.debug("Pods are left to the node's own end: %s", error)


def mounts_below(mountinfo: str, folder: Path) -> list[Path]:
    """Mount points inside `folder`, deepest first, from the text of /proc/self/mountinfo."""
    points = [Path(_unescape(line.split()[4])) for line in mountinfo.splitlines() if line]
    inside = [point for point in points if point != folder and point.is_relative_to(folder)]
    return sorted(inside, key=lambda point: len(point.parts), reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmounts what a killed node may have left, so that removing `folder` removes nothing else.

    Raises:
        DevclusterError: Something cannot be unmounted.
    """
    for point in mounts_below(Path("/proc/self/mountinfo").read_text(), folder):
        done = subprocess.run(
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
