"""An object store in a dictionary, for coordinators within the test's process."""

from pathlib import Path
from typing import NamedTuple

from sea_data.object_store import ObjectNotFoundError


class Item(NamedTuple):
    url: str


class MemoryStore:
    """What the coordinator asks of `sea_runtime.store.s3.ObjectStore`."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def exists(self, url: str) -> bool:
        return url in self.objects

    def get(self, url: str) -> bytes:
        if url not in self.objects:
            raise ObjectNotFoundError(f"GET {url}: There is no such object.")
        return self.objects[url]

    def put(self, url: str, body: bytes) -> None:
        self.objects[url] = body

    def size(self, url: str) -> int | None:
        return len(self.objects[url]) if url in self.objects else None

    def read_range(self, url: str, start: int, length: int) -> bytes:
        return self.objects[url][start : start + length]

    def list(self, url: str) -> list[Item]:
        return [Item(known) for known in sorted(self.objects) if known.startswith(url)]

    def upload_file(self, path: Path, url: str) -> None:
        self.objects[url] = path.read_bytes()

    def download_file(self, url: str, path: Path, size: int) -> None:
        path.write_bytes(self.objects[url])
