"""A fixed batch on its way to rank 0, piece by piece.

With router replay a batch has gigabytes (docs/performance.md): it is in memory nowhere as a whole.
`FixedBatch.open` looks how large each trajectory is, so that the answer has a length; `pieces` then
reads them one after another, as fast as rank 0 takes them (`http.streamed`).
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sea_runtime.coordinator.errors import GoneError, LedgerUnavailableError
from sea_runtime.coordinator.ledger import trajectories
from sea_runtime.coordinator.ledger.database import translated
from sea_runtime.coordinator.ledger.trajectories import StoredTrajectory
from sea_runtime.wire.rollouts import Batch, Group

PIECE_BYTES = 1 << 20
"""Smaller trajectories are joined up to it, larger ones are read in parts of it."""
_HOLE = b"\xc1" * 16
"""Stands for a value that is sent separately: 0xC1 is in no UTF-8 text, nor is it a type of
msgpack, so that more than eight in a row are in no other value."""


@dataclass(frozen=True)
class FixedBatch:
    """A batch that is fixed; `open` gets its trajectories."""

    stage: str
    step: int
    groups: list[tuple[int, str]]
    """Number and id."""
    dropped_groups: int
    mean_reward: float
    never_asked: int
    ledger: Path
    expired_groups: int = 0

    def open(self) -> "BatchStream":
        """The batch as a stream; only sizes are read. Blocking.

        Raises:
            GoneError: a checkpoint covers the step, its trajectories are pruned.
        """
        folder = trajectories.folder_of(self.ledger)
        with self.reading() as connection:
            found = [
                (name, trajectories.of_group(connection, folder, number))
                for number, name in self.groups
            ]
        # Covered between the plan and this: `prune` has dropped the rows.
        if not all(members for _, members in found):
            raise self.gone()
        return BatchStream(self, found)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own: the ledger's refuses other threads, and this one may be used by
        one after another."""
        try:
            with (
                translated(),
                closing(sqlite3.connect(self.ledger, 30.0, check_same_thread=False)) as connection,
            ):
                yield connection
        except LedgerUnavailableError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise self.gone() from error
            raise

    def gone(self) -> GoneError:
        return GoneError(
            f"The batch of step {self.step} of stage '{self.stage}' is covered by a committed "
            "checkpoint and was pruned. Start from the newest checkpoint that head.json names."
        )


class BatchStream:
    """The wire form (`wire.rollouts.Batch` in msgpack) of a batch, without its trajectories.

    The trajectories are the bytes that the workers sent.
    """

    def __init__(
        self, batch: FixedBatch, groups: Sequence[tuple[str, Sequence[StoredTrajectory]]]
    ) -> None:
        self._batch = batch
        head = Batch(
            batch.stage,
            batch.step,
            [],
            batch.dropped_groups,
            batch.mean_reward,
            batch.never_asked,
            batch.expired_groups,
        )
        before, after = _around(head, "groups")
        self._parts: list[bytes | StoredTrajectory] = [before, _array(len(groups))]
        for name, members in groups:
            self._add_group(name, members)
        self._parts.append(after)
        sizes = (len(one) if isinstance(one, bytes) else one.nbytes for one in self._parts)
        self.nbytes = sum(sizes)

    def _add_group(self, name: str, members: Sequence[StoredTrajectory]) -> None:
        rewards = [one.reward for one in members]
        before, after = _around(Group(name, rewards, []), "trajectories")
        self._parts += [before, _array(len(members))]
        for one in members:
            self._parts += [_binary(one.nbytes), one]
        self._parts.append(after)

    def pieces(self) -> Iterator[bytes]:
        """All bytes, in pieces of at most twice PIECE_BYTES. Blocking.

        Raises:
            GoneError: a checkpoint has covered the step meanwhile.
        """
        waiting = bytearray()
        for part in self._bytes():
            waiting += part
            if len(waiting) >= PIECE_BYTES:
                yield bytes(waiting)
                waiting.clear()
        yield bytes(waiting)

    def _bytes(self) -> Iterator[bytes]:
        with self._batch.reading() as connection:
            for part in self._parts:
                if isinstance(part, bytes):
                    yield part
                elif part.file is None:
                    yield trajectories.inline_body(connection, part)
                else:
                    yield from _of_file(part.file, part.nbytes)


def _of_file(path: Path, nbytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            nbytes -= len(piece)
            yield piece
    if nbytes:
        raise OSError(f"{path} is {nbytes} bytes shorter than it was")


def _around(value: msgspec.Struct, field: str) -> tuple[bytes, bytes]:
    """The struct in msgpack, before and after the value of the field."""
    holed = msgspec.structs.replace(value, **{field: msgspec.Raw(_HOLE)})
    before, _, after = msgspec.msgpack.encode(holed).partition(_HOLE)
    return before, after


def _array(length: int) -> bytes:
    """msgpack's header of an array."""
    if length < 16:
        return bytes([0x90 | length])
    if length < 1 << 16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")


def _binary(length: int) -> bytes:
    """msgpack's header of bytes."""
    for kind, width in ((b"\xc4", 1), (b"\xc5", 2)):
        if length < 1 << 8 * width:
            return kind + length.to_bytes(width, "big")
    return b"\xc6" + length.to_bytes(4, "big")
