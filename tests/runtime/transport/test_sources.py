"""From where a shard's blocks are read: who offers what, and what is read of each."""

import pytest

from sea_runtime.parallel.regions import Region, Run
from sea_runtime.transport import sources
from sea_runtime.transport.read_plan import read_of
from sea_runtime.transport.sources import NIXL, OBJECT_STORE, Source
from sea_runtime.wire.weights import (
    PEER,
    Block,
    EngineCopy,
    HeldPart,
    Shard,
    WeightVersion,
    WorkerCopy,
)

SIZE = 128
"""Bytes of a block."""


def block(index: int) -> Block:
    """Four rows of `t`, the index-th four."""
    return Block(
        name="t",
        tensor=[16, 8],
        start=[4 * index, 0],
        shape=[4, 8],
        dtype="float32",
        offset=SIZE * index,
        nbytes=SIZE,
    )


SHARD = Shard(
    rank=3,
    nbytes=4 * SIZE,
    blocks=[block(index) for index in range(4)],
    nixl_agent="trainer",
    nixl_metadata="m",
    nixl_address=0,
    object_url="s3://b/k",
)
WHOLE = {"t": [Region.whole((16, 8))]}


def held(*runs: tuple[int, int, int], rank: int = 3) -> HeldPart:
    return HeldPart(rank=rank, address=7, runs=sources.pack_runs(Run(*run) for run in runs))


def peer(*parts: HeldPart) -> EngineCopy:
    """An engine with one worker per part."""
    workers = [
        WorkerCopy(version=1, attempt=1, nixl_agent=f"w{i}", nixl_metadata="m", parts=[part])
        for i, part in enumerate(parts)
    ]
    return EngineCopy(pod="peer-0", version=1, attempt=1, workers=workers)


def version(*peers: EngineCopy) -> WeightVersion:
    return WeightVersion(
        stream="policy",
        version=1,
        attempt=1,
        stage="rl",
        step=1,
        shards=[SHARD],
        peers=list(peers),
    )


def test_peers_come_first_then_the_trainer_then_the_store() -> None:
    offers = sources.offers(version(peer(held((0, 0, 4 * SIZE)))), SHARD)
    assert [offer[0].transport for offer in offers] == [PEER, NIXL, OBJECT_STORE]
    assert [offer[0].name for offer in offers] == ["peer-0", "trainer", "s3://b/k"]


def test_a_peer_without_the_shard_offers_nothing() -> None:
    """As one whose trainer had other ranks."""
    assert len(sources.offers(version(peer(held((0, 0, SIZE), rank=2))), SHARD)) == 2


def names(found: list[tuple[Source, tuple[Run, ...]]] | None) -> dict[str, tuple[Run, ...]]:
    assert found is not None
    return {source.agent: runs for source, runs in found}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        # The same layout: one read from one worker, also where the copy is elsewhere.
        ([((0, 64, 4 * SIZE),)], {"w0": (Run(64, 0, 4 * SIZE),)}),
        # Two workers hold a half each, as of an engine of TP 2.
        (
            [((0, 0, 2 * SIZE),), ((2 * SIZE, 0, 2 * SIZE),)],
            {"w0": (Run(0, 0, 2 * SIZE),), "w1": (Run(0, 2 * SIZE, 2 * SIZE),)},
        ),
        # Alternating blocks are adjacent at the peer, but not here.
        (
            [((0, 0, SIZE), (2 * SIZE, SIZE, SIZE)), ((SIZE, 0, SIZE), (3 * SIZE, SIZE, SIZE))],
            {
                "w0": (Run(0, 0, SIZE), Run(SIZE, 2 * SIZE, SIZE)),
                "w1": (Run(0, SIZE, SIZE), Run(SIZE, 3 * SIZE, SIZE)),
            },
        ),
        # What both hold comes from the one that has most.
        ([((0, 0, SIZE),), ((0, 0, 4 * SIZE),)], {"w1": (Run(0, 0, 4 * SIZE),)}),
    ],
)
def test_each_block_is_read_from_one_worker(
    parts: list[tuple[tuple[int, int, int], ...]], expected: dict[str, tuple[Run, ...]]
) -> None:
    offer = sources.offers(version(peer(*(held(*runs) for runs in parts))), SHARD)[0]
    assert names(sources.split(read_of(SHARD, WHOLE), offer)) == expected


def test_a_peer_that_lacks_a_block_is_no_source() -> None:
    """An engine of TP 2 whose second worker is missing; one block of it is enough for some."""
    offer = sources.offers(version(peer(held((0, 0, 2 * SIZE)))), SHARD)[0]
    assert sources.split(read_of(SHARD, WHOLE), offer) is None
    part = read_of(SHARD, {"t": [Region((4, 0), (4, 8))]})
    assert names(sources.split(part, offer)) == {"w0": (Run(SIZE, 0, SIZE),)}


def test_the_trainer_is_read_as_planned() -> None:
    read = read_of(SHARD, {"t": [Region((0, 0), (4, 8)), Region((8, 0), (8, 8))]})
    offer = sources.offers(version(), SHARD)[0]
    assert names(sources.split(read, offer)) == {"trainer": read.runs}


def test_packed_runs_come_back() -> None:
    runs = (Run(0, 1 << 40, 3), Run(7, 8, 9))
    assert sources.unpack_runs(sources.pack_runs(runs)) == runs


@pytest.mark.parametrize("text", ["?", "AAAA", sources.pack_runs([Run(1, 2, 3)])[:-8]])
def test_damaged_runs_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        sources.unpack_runs(text)
