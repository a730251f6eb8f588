"""The ends of the logs of the job's containers, in the run's folder: `logs/POD/CONTAINER...log`.

The operator reads them from the API server, which alone has those of containers that were killed,
and sends them here, since only the pods have credentials of the object store.
"""

import asyncio
import re
from collections.abc import Mapping

from sea_api.contract import LOG_BYTES, log_path
from sea_api.redaction import HIDDEN, is_secret_name, redacted_log
from sea_data import urls
from sea_runtime.coordinator.errors import RefusedError
from sea_runtime.coordinator.job import Job
from sea_runtime.store.s3 import ObjectStore

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
MIN_SECRET_LENGTH = 8
"""A shorter value would be found in ordinary words."""


class ContainerLogs:
    """Writes each log whole; a later one of the same container and attempt replaces it.

    Args:
        environment: of this process. Its secrets are hidden wherever a pod has printed them.
    """

    def __init__(self, job: Job, store: ObjectStore, environment: Mapping[str, str]) -> None:
        self._job, self._store = job, store
        self._secrets = tuple(
            value
            for name, value in environment.items()
            if is_secret_name(name) and len(value) >= MIN_SECRET_LENGTH
        )

    async def keep(
        self, pod: str, container: str, attempt: int, text: bytes, *, failed: bool
    ) -> None:
        """Raises RefusedError for a pod of another job, StoreError, NotReadyError before a spec."""
        for name in (pod, container):
            # The names become part of an address.
            if not NAME.fullmatch(name):
                raise RefusedError(f"'{name[:99]}' is no name of a pod or container.")
        if not pod.startswith(f"{self._job.name}-"):
            raise RefusedError(f"Pod {pod} is not of job {self._job.name}.")
        url = urls.join(self._job.desired.run_url, log_path(pod, container, attempt, failed=failed))
        await asyncio.to_thread(lambda: self._store.put(url, self._hidden(text)))

    def _hidden(self, text: bytes) -> bytes:
        """The end of the log without credentials."""
        end = text[-LOG_BYTES:].decode(errors="replace")
        for secret in self._secrets:
            end = end.replace(secret, HIDDEN)
        return redacted_log(end).encode()
