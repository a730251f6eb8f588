"""The operator's client in tests: counts its requests and crashes on demand."""

from collections.abc import Callable
from typing import Self

from sea_operator.errors import KubeError
from sea_operator.kube.client import Body, KubeClient, Object
from sea_operator.kube.connection import Connection, Query


class Recorder(KubeClient):
    """A client that keeps its requests and writes, and can fail right after one of the writes."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.requests: list[str] = []
        self.writes: list[str] = []
        self.crash_after: int | None = None
        self.refuse: Callable[[str], KubeError | None] = lambda request: None
        """The error that a request ends with before it is sent, if any."""

    def guarded_by(self, guard: Callable[[], None]) -> Self:
        return self

    async def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body | None = None,
        content: str = "application/json",
    ) -> Object:
        self.requests.append(f"{method} {path}")
        if error := self.refuse(f"{method} {path}"):
            raise error
        answer = await super().request(method, path, query, body, content)
        if method != "GET":
            self.writes.append(f"{method} {path}")
            if self.crash_after is not None and len(self.writes) >= self.crash_after:
                raise CrashError(f"after {self.writes[-1]}")
        return answer


class CrashError(Exception):
    """The operator dies here."""
