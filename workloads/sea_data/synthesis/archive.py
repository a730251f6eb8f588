"""A run's journal in the object store: what is left when the volume was emptied.

    <url>/head.json                        the parts in their order, written by compare-and-set
    <url>/parts/<start>-<sha256>.jsonl.gz  whole lines of the journal from byte `start` on

A part counts once the head names it. The last part, while it is small, is replaced by a longer one
with the same start; all others are written once. Where somebody else has written the head, this
process has lost the run and stops: two writers can't mix their lines.
"""

import gzip
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sea_data import urls
from sea_data.object_store import (
    ChecksumMismatchError,
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    StoreError,
)
from sea_data.synthesis.journal import Journal, JournalError

log = logging.getLogger(__name__)

HEAD = "head.json"
FULL = 4 << 20
"""Bytes of journal from which on a part is not replaced any more."""


@dataclass(frozen=True)
class Part:
    """Lines of the journal from byte `start`; size and SHA-256 are those of the lines."""

    start: int
    size: int
    sha256: str

    @property
    def end(self) -> int:
        return self.start + self.size

    @property
    def key(self) -> str:
        return f"parts/{self.start:015d}-{self.sha256[:16]}.jsonl.gz"


class Archive:
    """One run's folder in the store. All methods block and raise StoreError."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store, self._url = store, url
        self._parts: list[Part] = []
        self._tag: str | None = None

    @property
    def size(self) -> int:
        """Bytes of the journal that the store holds."""
        return self._parts[-1].end if self._parts else 0

    def restore(self, journal: Journal) -> bool:
        """Brings the journal back where the volume's lacks lines; True if it had to.

        A journal that goes on where the archive ends is kept. One that differs from the archive is
        replaced: what it holds beyond was never promised to anybody.
        """
        self._read()
        if _begins_with(journal.path, self._parts):
            return False
        journal.rewrite(self._lines(part) for part in self._parts)
        return True

    def extend(self, path: Path) -> None:
        """Sends the journal's whole lines that the store lacks.

        Raises JournalError where another process has written since `restore`.
        """
        with path.open("rb") as file:
            while True:
                tail = self._parts[-1] if self._parts else Part(0, 0, "")
                small = tail.size < FULL
                file.seek(tail.start if small else tail.end)
                body = file.read(FULL) + file.readline()
                body = body[: body.rfind(b"\n") + 1]
                if len(body) <= (tail.size if small else 0):
                    return
                self._add(body, replaced=tail if small and tail.size else None)

    def _add(self, body: bytes, replaced: Part | None) -> None:
        kept = self._parts[:-1] if replaced else self._parts
        start = kept[-1].end if kept else 0
        part = Part(start, len(body), hashlib.sha256(body).hexdigest())
        self._store.put(urls.join(self._url, part.key), gzip.compress(body, 1, mtime=0))
        self._commit([*kept, part])
        if replaced:
            try:
                self._store.delete(urls.join(self._url, replaced.key))
            except StoreError as error:
                log.warning("a part that was replaced stays in the store: %s", error)

    def _commit(self, parts: list[Part]) -> None:
        body = json.dumps({"parts": [asdict(part) for part in parts]}).encode()
        try:
            self._tag = self._store.put_if(urls.join(self._url, HEAD), body, self._tag)
        except PreconditionFailedError as error:
            raise JournalError(
                f"Another process has written {self._url} since this one began: it has the run "
                "now. Nothing is lost; let one of them go on.",
                passing=True,
            ) from error
        self._parts = parts

    def _read(self) -> None:
        try:
            body, self._tag = self._store.get_with_etag(urls.join(self._url, HEAD))
        except ObjectNotFoundError:
            self._parts, self._tag = [], None
            return
        self._parts = [Part(**part) for part in json.loads(body)["parts"]]

    def _lines(self, part: Part) -> bytes:
        url = urls.join(self._url, part.key)
        try:
            body = gzip.decompress(self._store.get(url))
        except (OSError, EOFError) as error:
            raise _damaged(url) from error
        if hashlib.sha256(body).hexdigest() != part.sha256:
            raise _damaged(url)
        return body


def _begins_with(path: Path, parts: list[Part]) -> bool:
    def sums() -> Iterator[str]:
        with path.open("rb") as file:
            for part in parts:
                yield hashlib.sha256(file.read(part.size)).hexdigest()

    return all(found == part.sha256 for found, part in zip(sums(), parts, strict=True))


def _damaged(url: str) -> ChecksumMismatchError:
    return ChecksumMismatchError(
        f"{url} isn't what its head.json names: the object is damaged or was overwritten. Restore "
        "it, or delete head.json beside it to make the data anew."
    )
