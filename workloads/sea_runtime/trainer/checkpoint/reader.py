"""Reads what is needed of a checkpoint: planned by `reshard`, in ranges, every byte checked.

A restoring rank reads its own share of the state, whatever layout saved it, and an export reads
whole tensors (`checkpoint/export.py`): neither downloads a checkpoint.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from pydantic import ValidationError

from sea_data.object_store import ObjectNotFoundError
from sea_runtime.parallel import weight_map
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Manifest, index_name, state_name
from sea_runtime.trainer.checkpoint.index import ITEM_SIZES, PIECE, RankIndex, wrong_pieces
from sea_runtime.trainer.checkpoint.reshard import Copy, Wanted, plan, saved_by
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.wire.checkpoints import StoredObject

PARALLEL_READS = 8
MAX_READ = 32 << 20
"""Bytes of one request; as many times `PARALLEL_READS` are in memory."""
MAX_GAP = 1 << 20
"""Bytes that are read without need rather than begin another request."""
TYPES = {"float32": np.float32, "bfloat16": np.uint16}
Put = Callable[[Copy, str, np.ndarray], None]
"""Takes a copy, its kind and the values, [rows, columns], in any thread."""


@dataclass(frozen=True)
class _Extent:
    """The bytes of an object that one copy of one kind needs."""

    start: int
    stop: int
    kind: str
    copy: Copy


class CheckpointReader:
    """One committed checkpoint of a model of `shape`.

    Raises (all methods): `CheckpointError` for what is damaged or missing; `StoreError`.
    """

    def __init__(self, commits: Commits, manifest: Manifest, shape: ModelShape) -> None:
        self._commits, self._shape = commits, shape
        self._objects = {one.name: one for one in manifest.objects}
        self._places = manifest.parallel_layout().places
        self._indexes: dict[int, RankIndex] = {}

    def index(self, rank: int) -> RankIndex:
        """The index of a rank that saved; raises CheckpointError if it saved nothing."""
        if rank not in self._indexes:
            self._indexes[rank] = read_index(self._commits, self._object(index_name(rank)))
        return self._indexes[rank]

    def read(
        self, wanted: Sequence[Wanted], kinds: Sequence[str], put: Put, prefer: int = -1
    ) -> None:
        """Fills all that is wanted, for each of the kinds. Blocking; in several threads.

        Args:
            put: stores what was read.
            prefer: as in `reshard.plan`.
        """
        ranks = list(self._relevant({one.tensor for one in wanted}))
        with ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="restore") as pool:
            runs = {one.rank: one.runs for one in pool.map(self.index, ranks)}
            copies = plan(wanted, saved_by(self._shape, self._places, runs), prefer)
            reads = [
                (rank, extents)
                for rank in ranks
                for extents in batches(self._extents(rank, copies, kinds))
            ]
            # list: pool.map raises an error only when its result is taken.
            list(pool.map(lambda one: self._read(one[0], one[1], put), reads))

    def _relevant(self, tensors: set[str]) -> Iterator[int]:
        """Ranks that hold a part of any of the tensors."""
        for place in self._places:
            if any(block.tensor in tensors for block in weight_map.blocks(self._shape, place)):
                yield place.rank

    def _extents(
        self, rank: int, copies: Sequence[Copy], kinds: Sequence[str]
    ) -> Iterator[_Extent]:
        for kind in kinds:
            section = self.index(rank).section(kind)
            width = ITEM_SIZES[section.dtype]
            for copy in copies:
                if copy.rank != rank:
                    continue
                for part in some_at_a_time(copy, MAX_READ // width):
                    start = section.offset + part.source * width
                    yield _Extent(start, section.offset + part.source_stop * width, kind, part)

    def _read(self, rank: int, extents: Sequence[_Extent], put: Put) -> None:
        index = self.index(rank)
        stored = self._object(state_name(rank))
        # Widened to whole pieces, of which the index has the checksums; only an object's last one
        # is shorter.
        start = extents[0].start // PIECE * PIECE
        stop = -(-max(one.stop for one in extents) // PIECE) * PIECE
        data = np.empty(min(stop, index.nbytes) - start, np.uint8)
        read_checked(self._commits, stored, index, start, data)
        for one in extents:
            section = index.section(one.kind)
            values = data[one.start - start : one.stop - start].view(TYPES[section.dtype])
            # A view: rows are `source_stride` elements apart in what was read, and `put` copies
            # them once.
            rows = np.lib.stride_tricks.as_strided(
                values,
                (one.copy.rows, one.copy.columns),
                (one.copy.source_stride * values.itemsize, values.itemsize),
                writeable=False,
            )
            put(one.copy, one.kind, rows)

    def _object(self, name: str) -> StoredObject:
        found = self._objects.get(name)
        if found is None:
            raise CheckpointError(f"The checkpoint's manifest names no object {name}.")
        return found


def missing(commits: Commits, stored: Iterable[StoredObject]) -> list[str]:
    """A sentence for each object that is missing or has another size."""

    def one(named: StoredObject) -> str:
        url = commits.url(named.key)
        size = commits.store.size(url)
        if size is None:
            return f"{url} is missing."
        if size != named.size:
            return f"{url} has {size} bytes, the manifest names {named.size}."
        return ""

    with ThreadPoolExecutor(PARALLEL_READS, thread_name_prefix="sizes") as pool:
        return [found for found in pool.map(one, stored) if found]


def damage(commits: Commits, manifest: Manifest, stored: StoredObject) -> str:
    """What is wrong with the bytes of an object of a checkpoint, as a sentence; empty if nothing.

    Reads all of it, in memory that doesn't grow with its size.
    """
    wrong = missing(commits, [stored])
    if wrong:
        return wrong[0]
    try:
        if stored.sha256:
            _check_digest(commits, stored)
        else:
            _check_pieces(commits, manifest, stored)
    except (CheckpointError, ObjectNotFoundError) as error:
        return str(error)
    return ""


def _check_digest(commits: Commits, stored: StoredObject) -> None:
    url, digest = commits.url(stored.key), sha256()
    for start in range(0, stored.size, MAX_READ):
        digest.update(commits.store.read_range(url, start, MAX_READ))
    if digest.hexdigest() != stored.sha256:
        raise CheckpointError(f"{url} has another SHA-256 than the manifest names.")


def _check_pieces(commits: Commits, manifest: Manifest, stored: StoredObject) -> None:
    name = stored.name.removesuffix(".state") + ".json"
    described = next((one for one in manifest.objects if one.name == name), None)
    if described is None:
        raise CheckpointError(f"The checkpoint's manifest names no object {name}.")
    index = read_index(commits, described)
    for start in range(0, index.nbytes, MAX_READ):
        out = np.empty(min(MAX_READ, index.nbytes - start), np.uint8)
        read_checked(commits, stored, index, start, out)


def read_index(commits: Commits, stored: StoredObject) -> RankIndex:
    """The index of a state object.

    Raises:
        CheckpointError: its bytes aren't those that the manifest names.
    """
    url = commits.url(stored.key)
    body = commits.store.get(url)
    if len(body) != stored.size or sha256(body).hexdigest() != stored.sha256:
        raise CheckpointError(f"{url} differs from what the manifest names (size or SHA-256).")
    try:
        return RankIndex.model_validate_json(body)
    except ValidationError as error:
        raise CheckpointError(f"{url} is no index of a state: {error}") from error


def read_checked(
    commits: Commits, stored: StoredObject, index: RankIndex, start: int, out: np.ndarray
) -> None:
    """Fills `out` with the object's bytes from `start` on, a multiple of `PIECE`.

    Raises:
        CheckpointError: they aren't the bytes that were saved.
    """
    url = commits.url(stored.key)
    done = commits.store.read_into(url, out.data, start)
    wrong = wrong_pieces(index, start, out.data) if done == len(out) else []
    if done < len(out) or wrong:
        what = f"bytes {wrong[0] * PIECE} and following" if wrong else f"only {start + done} bytes"
        raise CheckpointError(
            f"{url} differs from what was saved ({what}; its index names {index.nbytes} bytes with "
            "a checksum per MiB)."
        )


def some_at_a_time(copy: Copy, elements: int) -> Iterator[Copy]:
    """The copy cut between its rows, so that each part spans at most `elements`, or is one row."""
    each = max(1, elements // max(1, copy.source_stride))
    for first in range(0, copy.rows, each):
        yield copy.some_rows(first, min(each, copy.rows - first))


def batches(extents: Iterator[_Extent]) -> Iterator[list[_Extent]]:
    """Extents that one request reads together."""
    batch: list[_Extent] = []
    stop = 0
    for one in sorted(extents, key=lambda extent: (extent.start, extent.stop)):
        # A gap costs its bytes, another request a round trip; MAX_READ bounds the memory of a
        # thread.
        far = batch and one.start - stop > MAX_GAP
        if batch and (far or max(stop, one.stop) - batch[0].start > MAX_READ):
            yield batch
            batch, stop = [], 0
        batch.append(one)
        stop = max(stop, one.stop)
    if batch:
        yield batch
