"""An object store in a dictionary, for coordinators within the test's process."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sea_data.object_store import (
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreUnavailableError,
)


def _tag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class Item(NamedTuple):
    url: str


class MemoryStore:
    """What the coordinator asks of `sea_runtime.store.s3.ObjectStore`."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.away = False
        """No call is answered."""

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailableError("The object store did not answer.")

    def exists(self, url: str) -> bool:
        self._answer()
        return url in self.objects

    def get(self, url: str) -> bytes:
        self._answer()
        if url not in self.objects:
            raise ObjectNotFoundError(f"GET {url}: There is no such object.")
        return self.objects[url]

    def get_with_etag(self, url: str) -> tuple[bytes, str]:
        body = self.get(url)
        return body, _tag(body)

    def put(self, url: str, body: bytes) -> None:
        self._answer()
        self.objects[url] = body

    def put_if(self, url: str, body: bytes, etag: str | None) -> str:
        self._answer()
        known = self.objects.get(url)
        if known is not None if etag is None else known is None or _tag(known) != etag:
            raise PreconditionFailedError(f"PUT {url}: Another writer was first.")
        self.objects[url] = body
        return _tag(body)

    def delete(self, url: str) -> None:
        self._answer()
        self.objects.pop(url, None)

    def size(self, url: str) -> int | None:
        self._answer()
        return len(self.objects[url]) if url in self.objects else None

    def read_range(self, url: str, start: int, length: int) -> bytes:
        self._answer()
        return self.objects[url][start : start + length]

    def list(self, url: str) -> list[Item]:
        self._answer()
        return [Item(known) for known in sorted(self.objects) if known.startswith(url)]

    def upload_file(self, path: Path, url: str) -> None:
        self._answer()
        self.objects[url] = path.read_bytes()

    def download_file(self, url: str, path: Path, size: int) -> None:
        self._answer()
        path.write_bytes(self.objects[url])

    def abort_uploads(self, _prefix: str, _is_abandoned: Callable[[str], bool]) -> None:
        """Nothing is uploaded in parts."""
