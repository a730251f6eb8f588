"""A batch from rank 0 to the others: each keeps the experts of its layers and rows, no others.

Real ranks do it in `test_component_engine.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from sea_runtime.parallel.row_balance import SequenceWork
from sea_runtime.trainer import packing
from sea_runtime.trainer.batch_broadcast import Outgoing, receive
from sea_runtime.trainer.packing import Grid
from sea_runtime.trainer.rl_batch import RLBatch, Shaping
from sea_runtime.wire.rollouts import Batch, Group, Trajectory, UndecodableError
from sea_testing.models import moe_shape

SHAPE = moe_shape(max_position_embeddings=64)
"""Two layers, two of four experts per token."""


@dataclass
class Tape:
    """What rank 0 broadcasts, and other ranks then play."""

    sent: list[Any] = field(default_factory=list)
    played: int | None = None
    """None on rank 0."""

    def broadcast(self, value: Any) -> Any:
        if self.played is None:
            self.sent.append(value)
            return value
        self.played += 1
        return self.sent[self.played - 1]

    def broadcast_bytes(self, data: bytes | None, size: int | None = None) -> bytes:
        assert (data is None) == (self.played is not None)
        found: bytes = self.broadcast(data)
        assert size in (None, len(found))
        return found


def model(layers: range, replicas: int = 1, replica: int = 0) -> Any:
    def plan(tokens: Any, chosen: Any, wanted: Any) -> Any:
        work = SequenceWork.of(SHAPE)
        return packing.plan_chosen(tokens, chosen, wanted, Grid(replicas), 64, work)

    return SimpleNamespace(
        shape=SHAPE,
        layout=SimpleNamespace(data=replicas),
        place=SimpleNamespace(layers=layers, data_rank=replica),
        plan=plan,
    )


def trajectory(
    number: int, *, experts: bool = True, tokens: int = 6, starts: Sequence[int] = ()
) -> Trajectory:
    rng = np.random.default_rng(number)
    rows = [bytes(rng.integers(0, 4, 4).tolist()) for _ in range(tokens)]
    return Trajectory.pack(
        rng.integers(5, 60, tokens).tolist(),
        [0, *[1] * (tokens - 1)],
        [0.0] * tokens,
        [-1] * tokens,
        starts,
        rows if experts else (),
    )


def encoded(groups: Sequence[Sequence[Trajectory]]) -> bytes:
    named = [
        Group(f"g{i}", [1.0, 0.0], [one.encode() for one in members])
        for i, members in enumerate(groups)
    ]
    return msgspec.msgpack.encode(Batch("rl", 7, named, 0, 0.5))


def received(data: bytes, models: Sequence[Any], updates: int = 1) -> list[RLBatch]:
    """The batch on each rank, rank 0 first."""
    tape, outgoing = Tape(), Outgoing.of(data)
    found = []
    for rank, one in enumerate(models):
        control: Any = tape if rank == 0 else Tape(tape.sent, 0)
        sent = outgoing if rank == 0 else None
        found.append(receive(control, sent, one, Shaping(), updates))
        assert control.played in (None, len(tape.sent))
    assert not any(outgoing.experts), "rank 0 still holds what it has sent"
    return found


GROUPS = [
    [trajectory(0, starts=[2]), trajectory(1, experts=False)],
    [trajectory(2), trajectory(3, tokens=9)],
]
SAMPLES = [(0, slice(0, 2)), (0, slice(2, 6)), (1, slice(0, 6)), (2, slice(0, 6)), (3, slice(0, 9))]
"""Trajectory and tokens of each sample."""


def wanted(sample: int, layers: range) -> Any:
    """[S, layers, k]; None where the trajectory names none."""
    index, cut = SAMPLES[sample]
    one = GROUPS[index // 2][index % 2]
    if not one.experts:
        return None
    whole = np.frombuffer(one.experts, "u1").reshape(-1, 2, 2)
    return whole[cut, layers.start : layers.stop].tolist()


@pytest.mark.parametrize("updates", [1, 2])
def test_a_rank_keeps_the_experts_of_its_layers_and_rows(updates: int) -> None:
    """And rows read no others."""
    places = [(range(first, first + 1), replica) for first in range(2) for replica in range(2)]
    ranks = received(encoded(GROUPS), [model(a, 2, b) for a, b in places], updates)
    for (layers, _), batch in zip(places, ranks, strict=True):
        assert batch.choices is not None
        for sample, found in enumerate(batch.choices):
            if found is not None:
                assert found.tolist() == wanted(sample, layers)
                assert found.base is None, "a view keeps the whole trajectory"
    for one, other in (ranks[:2], ranks[2:]):
        assert one.choices is not None
        assert other.choices is not None
        pairs = list(zip(one.choices, other.choices, strict=True))
        held = [sum(found is not None for found in pair) for pair in pairs]
        # With two updates a sample may be in another replica's row than in the pass before.
        assert [min(count, 1) for count in held] == [1, 1, 0, 1, 1]
        assert updates == 2 or max(held) == 1


def test_one_replica_keeps_all_rows_and_a_batch_without_experts_has_none() -> None:
    (batch,) = received(encoded(GROUPS), [model(range(2))])
    assert batch.choices is not None
    for sample, found in enumerate(batch.choices):
        expected = wanted(sample, range(2))
        assert (None if found is None else found.tolist()) == expected
    plain = [[trajectory(number, experts=False)] * 2 for number in range(2)]
    data = encoded(plain)
    assert Outgoing.of(data).light is data, "nothing to separate: the bytes as they came"
    assert [one.choices for one in received(data, [model(range(2))] * 2)] == [None, None]


def test_everything_else_is_whole_on_every_rank_and_its_number_counts_the_experts() -> None:
    ranks = received(encoded(GROUPS), [model(range(2), 2, replica) for replica in range(2)])
    for batch in ranks:
        assert [one.tolist() for one in batch.tokens] == [
            GROUPS[index // 2][index % 2].token_ids()[cut].tolist() for index, cut in SAMPLES
        ]
    assert ranks[0].crc32 == ranks[1].crc32
    first = GROUPS[0][0]
    changed = msgspec.structs.replace(first, experts=b"\x00\x01" + first.experts[2:])
    (again,) = received(encoded([[changed, GROUPS[0][1]], GROUPS[1]]), [model(range(2))])
    assert again.crc32 != ranks[0].crc32


WRONG = [
    ([b"abc"] * 4, "12 bytes of chosen experts instead of 16: 4 tokens in 2 layers, 2 of 4"),
    ([bytes([0, 1, 2, 4])] * 4, "went to expert 4, but there are 4"),
]


def failures_of_both(data: bytes) -> list[str]:
    """What each of two ranks fails with; no rank waits for another."""
    tape, outgoing, found = Tape(), Outgoing.of(data), []
    for rank in range(2):
        control: Any = tape if rank == 0 else Tape(tape.sent, 0)
        with pytest.raises(UndecodableError) as failed:
            receive(control, None if rank else outgoing, model(range(2)), Shaping(), 1)
        assert control.played in (None, len(tape.sent)), "a rank waits for another"
        found.append(str(failed.value))
    return found


@pytest.mark.parametrize(("rows", "words"), WRONG)
def test_experts_of_another_model_are_refused_by_all_ranks(rows: list[bytes], words: str) -> None:
    wrong = Trajectory.pack([5, 6, 7, 8], [0, 1, 0, 1], [0.0] * 4, [0] * 4, (), rows)
    place = "Trajectory 1 of group g1 in the batch of step 7 of stage 'rl' can't be trained on"
    found = failures_of_both(encoded([GROUPS[0], [GROUPS[1][0], wrong]]))
    assert all(one.startswith(place) and words in one for one in found), found


def test_what_cannot_be_decoded_fails_on_all_ranks_together() -> None:
    """Rank 0 alone would leave the others in a broadcast."""
    assert all("not a batch" in one for one in failures_of_both(b"nonsense"))
    groups = [Group("g0", [1.0, 0.0], [GROUPS[0][0].encode(), b"nonsense"])]
    found = failures_of_both(msgspec.msgpack.encode(Batch("rl", 7, groups, 0, 0.5)))
    assert all("Trajectory 1 of group g0" in one for one in found), found
