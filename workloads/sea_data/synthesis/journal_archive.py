"""A run's journal in the object store, which survives the loss of the volume.

    <url>/head.json                        the parts in their order, written by compare-and-set
    <url>/parts/<start>-<sha256>.jsonl.gz  whole lines of the journal from byte `start` on

A part counts once the head names it. While the last part is small, a longer one with the same start
replaces it; all others are written once. If another process has written the head, this process has
lost the run and stops, so two writers can't mix their lines.

`JournalArchive` reads and writes that folder; `JournalUploader` calls it from a thread while the
run goes on.
"""

import contextlib
import gzip
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from sea_data import urls
from sea_data.object_store import (
    ChecksumMismatchError,
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    StoreError,
)
from sea_data.synthesis.journal import Journal, JournalError, JournalTakenError

log = logging.getLogger(__name__)

HEAD = "head.json"
PART_BYTES = 4 << 20
"""Bytes of journal from which on a part is not replaced any more."""
UPLOAD_BYTES = 1 << 20
"""Bytes of journal that are uploaded without waiting for `UPLOAD_SECONDS`."""
UPLOAD_SECONDS = 10.0
"""Longest time that a line exists only on the volume while the store answers."""
POLL_SECONDS = 0.5


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


class JournalArchive:
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
        """Rewrites a journal that lacks lines of the archive. Returns True if it did.

        A journal that begins with the archive's lines is kept. One that differs is replaced: its
        other lines were never committed.
        """
        self._read()
        if _begins_with(journal.path, self._parts):
            return False
        # A generator: a damaged part raises before later ones are written, and the next start
        # restores again.
        journal.rewrite(self._lines(part) for part in self._parts)
        return True

    def extend(self, path: Path) -> None:
        """Uploads the complete lines that the store lacks.

        Raises JournalTakenError if another process has written since `restore`.
        """
        with path.open("rb") as file:
            while True:
                tail = self._parts[-1] if self._parts else Part(0, 0, "")
                # A small last part is read again from its start and replaced by a longer one.
                small = tail.size < PART_BYTES
                file.seek(tail.start if small else tail.end)
                # Up to the end of a line; the journal may be growing meanwhile, so a half line is
                # cut off below.
                body = file.read(PART_BYTES) + file.readline()
                body = body[: body.rfind(b"\n") + 1]
                # Nothing new since the last time.
                if len(body) <= (tail.size if small else 0):
                    return
                self._add(body, replaced=tail if small and tail.size else None)

    def _add(self, body: bytes, replaced: Part | None) -> None:
        kept = self._parts[:-1] if replaced else self._parts
        start = kept[-1].end if kept else 0
        part = Part(start, len(body), hashlib.sha256(body).hexdigest())
        # Part, then head, then the old part: whatever the moment of a kill, all parts that the head
        # names exist.
        # mtime=0: equal lines give equal bytes, so a repeated put changes nothing.
        self._store.put(urls.join(self._url, part.key), gzip.compress(body, 1, mtime=0))
        self._commit([*kept, part])
        if replaced:
            try:
                self._store.delete(urls.join(self._url, replaced.key))
            except StoreError as error:
                log.warning("a replaced part stays in the store: %s", error)

    def _commit(self, parts: list[Part]) -> None:
        body = json.dumps({"parts": [asdict(part) for part in parts]}).encode()
        try:
            # Compare-and-set against the tag of our last write: any other writer in between makes
            # it fail.
            self._tag = self._store.put_if(urls.join(self._url, HEAD), body, self._tag)
        except PreconditionFailedError as error:
            raise JournalTakenError(
                f"Another process has written {self._url} since this one began: it has the run "
                "now. Nothing is lost; let one of them go on."
            ) from error
        # Only after the head names them; if it fails, the next `extend` starts from the old ones.
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
        # Of the lines, not of the gzip: what is resumed from is what was journaled.
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
        "it, or delete head.json next to it to make the data again from scratch."
    )


def is_due(grown: int, waited_s: float) -> bool:
    """True if it is time to upload, `grown` bytes and `waited_s` seconds after the last time."""
    return grown >= UPLOAD_BYTES or (grown > 0 and waited_s >= UPLOAD_SECONDS)


class JournalUploader:
    """A context manager during which the archive follows the journal from a thread.

    At its end the archive holds the whole journal. An outage of the store only delays uploads;
    another writer ends the run.
    """

    def __init__(
        self, archive: JournalArchive, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._archive, self._path, self._clock = archive, path, clock
        self._over = threading.Event()
        self._lost: JournalTakenError | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="journal")

    def __enter__(self) -> "JournalUploader":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        # `JournalArchive` isn't thread-safe: the thread must have ended before `extend` below.
        self._thread.join()
        if kind is None:
            self.check()
            self._archive.extend(self._path)
        elif issubclass(kind, Exception) and self._lost is None:
            # Best effort: the error that ends the run is the one to report.
            with contextlib.suppress(StoreError, JournalError, OSError):
                self._archive.extend(self._path)

    def check(self) -> None:
        """Raises JournalTakenError if another process has taken the run over."""
        if self._lost is not None:
            raise self._lost

    def _follow(self) -> None:
        sent_at = self._clock()
        while not self._over.wait(POLL_SECONDS):
            try:
                grown = self._path.stat().st_size - self._archive.size
                if is_due(grown, self._clock() - sent_at):
                    self._archive.extend(self._path)
                    # After the upload: a slow store isn't asked again at once.
                    sent_at = self._clock()
            except JournalTakenError as error:
                # Kept for `check`: an exception in this thread would go unseen.
                self._lost = error
                return
            except (StoreError, OSError) as error:
                log.warning("the journal isn't kept in the store for the moment: %s", error)
