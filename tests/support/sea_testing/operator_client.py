"""The operator's client in tests: counts its writes and crashes on demand."""

from collections.abc import Callable
from typing import Any, Self

from kubernetes.aio.client import ApiClient

from sea_operator.kube.client import KubeClient


class Recorder(KubeClient):
    """A client that counts its writes and can fail right after one of them."""

    def __init__(self, api: ApiClient) -> None:
        super().__init__(api)
        self.writes: list[str] = []
        self.crash_after: int | None = None

    def guarded_by(self, guard: Callable[[], None]) -> Self:
        return self

    async def _write(
        self, method: str, path: str, query: Any, body: Any, content: str = "application/json"
    ) -> Any:
        answer = await super()._write(method, path, query, body, content)
        self.writes.append(f"{method} {path}")
        if self.crash_after is not None and len(self.writes) >= self.crash_after:
            raise CrashError(f"after {self.writes[-1]}")
        return answer


class CrashError(Exception):
    """The operator dies here."""
