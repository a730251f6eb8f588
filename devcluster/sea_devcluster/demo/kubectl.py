"""The demo's access to the API server: kubectl for what users would type, a client for polling."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenacity
from kubernetes import client, config
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from sea_devcluster.errors import DemoError

TIMEOUT_SECONDS = 180.0
REQUEST_TIMEOUT_SECONDS = 10
FRESH_CRD_ERRORS = (
    "initializing",
    ".status.conditions accessor error",
    "no matches for kind",
    "could not find the requested resource",
)
"""Messages by which kubectl fails for a moment after a CRD is applied.

Kubernetes 1.36 answers requests for the new resource with 429 ("initializing") for about a second
after it is Established, and until its conditions are first written they are null, on which
`kubectl wait` ends with an error instead of waiting (kubernetes/kubernetes#66439). Discovery and
the handler follow the condition independently, so for a moment the new kind may be unknown.
kubectl has one exit status for all errors, so the message is all there is to tell them apart.
"""
MAX_CRD_ATTEMPTS = 120
CRD_RETRY_SECONDS = 0.5
MAX_OUTAGE_SECONDS = 60.0
"""How long an API server may be away while the job is followed: on two busy cores an answer can
take longer than a request's time-out, and the user's own cluster may restart its API server."""
OUTAGE_RETRY_SECONDS = 1.0
NOT_FOUND, TOO_MANY, SERVER_ERROR = 404, 429, 500
Fetch = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Kubectl:
    """kubectl of one cluster; every call has a time-out and fails with kubectl's own message."""

    binary: str
    kubeconfig: Path | None

    def run(self, *args: str, stdin: str | None = None) -> str:
        """Standard output of `kubectl ARGS`.

        Raises:
            DemoError: kubectl failed; carries its message.
        """
        command = [self.binary, *args]
        if self.kubeconfig is not None:
            # A devcluster's address is new each time: in ~/.kube/cache its folder would stay.
            cache = self.kubeconfig.with_name("kubectl-cache")
            command[1:1] = ["--kubeconfig", str(self.kubeconfig), "--cache-dir", str(cache)]
        try:
            done = subprocess.run(
                command,
                check=False,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
            )
        except FileNotFoundError:
            raise DemoError(f"kubectl was not found at {self.binary}; run `make setup`.") from None
        except subprocess.TimeoutExpired:
            raise DemoError(
                f"`kubectl {' '.join(args)}` gave no answer for {TIMEOUT_SECONDS:.0f} s."
            ) from None
        if done.returncode != 0:
            raise DemoError(f"`kubectl {' '.join(args)}` failed: {done.stderr.strip()}")
        return done.stdout

    def apply(self, file: Path) -> None:
        """Server-side apply of a file."""
        self.run("apply", "--server-side", "--force-conflicts", "-f", str(file))

    def apply_object(self, manifest: dict[str, Any]) -> None:
        """Server-side apply of one object."""
        text = json.dumps(manifest)
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def get(self, *args: str) -> Any:
        """Parsed JSON of `kubectl get ARGS`."""
        return json.loads(self.run("get", *args, "-o", "json"))


def retry_while_crd_is_new(
    step: Callable[[], object], sleep: Callable[[float], None] = time.sleep
) -> None:
    """Repeats `step` while it fails by a `FRESH_CRD_ERRORS`; other errors are raised at once."""
    tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda error: any(message in str(error) for message in FRESH_CRD_ERRORS)
        ),
        stop=tenacity.stop_after_attempt(MAX_CRD_ATTEMPTS),
        wait=tenacity.wait_fixed(CRD_RETRY_SECONDS),
        sleep=sleep,
        reraise=True,
    )(step)


def job_reader(kubeconfig: Path | None, namespace: str, name: str) -> Fetch:
    """A function that fetches the job; a kubectl process per second would cost half a core."""
    path = None if kubeconfig is None else str(kubeconfig)
    api = client.CustomObjectsApi(config.new_client_from_config(path))

    def read() -> dict[str, Any]:
        found: dict[str, Any] = api.get_namespaced_custom_object(
            "sea-operator.io",
            "v1alpha1",
            namespace,
            "seatrainingjobs",
            name,
            _request_timeout=REQUEST_TIMEOUT_SECONDS,
        )
        return found

    return read


def retry_outages(
    fetch: Fetch, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Fetch:
    """`fetch`, repeated for `MAX_OUTAGE_SECONDS` while the server is away or overloaded.

    The result raises DemoError if it stays away, or the job is gone or may not be read.
    """

    def read() -> dict[str, Any]:
        start = clock()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_outage),
            stop=lambda _: clock() - start > MAX_OUTAGE_SECONDS,
            wait=tenacity.wait_fixed(OUTAGE_RETRY_SECONDS),
            sleep=sleep,
            reraise=True,
        )
        try:
            return retrying(fetch)
        except (ApiException, HTTPError) as error:
            raise DemoError(_read_error(error, clock() - start)) from error

    return read


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, ApiException):
        return error.status in {0, TOO_MANY} or error.status >= SERVER_ERROR
    return isinstance(error, HTTPError)


def _read_error(error: ApiException | HTTPError, seconds: float) -> str:
    if isinstance(error, HTTPError) or _is_outage(error):
        return f"The API server gave no answer for {seconds:.0f} s: {error}"
    if error.status == NOT_FOUND:
        return "The job was deleted while the demo watched it."
    return f"The job can't be read: {error.status} {error.reason}."
