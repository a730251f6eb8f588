"""Which stored versions lead to a wanted one."""

from collections.abc import Callable

import pytest

from sea_runtime.transport.stored_versions import (
    MAX_CHAIN,
    StoredVersionError,
    delta_url,
    path_to,
    shard_url,
)
from sea_runtime.wire.weights import Shard, ShardDelta, WeightVersion

WHERE = ("s3://runs/job", "policy")


def version(number: int, *, full: bool = False, base: int | None = None) -> WeightVersion:
    delta = None
    if base is not None:
        url = delta_url(*WHERE, number, 0, 1)
        delta = ShardDelta(url=url, base_version=base, base_attempt=1, offsets=[], sizes=[])
    url_ = shard_url(*WHERE, number, 0, 1) if full else None
    shard = Shard(rank=0, nbytes=0, blocks=[], object_url=url_, delta=delta)
    return WeightVersion(
        stream="policy", version=number, attempt=1, stage="rl", step=number, shards=[shard]
    )


CHAIN = {
    1: version(1, full=True),
    2: version(2, base=1),
    3: version(3, base=2),
    4: version(4, full=True, base=3),
    5: version(5, base=4),
    # The store was away for one version.
    7: version(7, base=5),
    # A new attempt begins with an anchor.
    8: version(8, full=True),
}


def load(number: int) -> WeightVersion:
    if number not in CHAIN:
        raise StoredVersionError(f"no version {number}")
    return CHAIN[number]


TABLE = [
    ("what changed since the one before", 2, 1, None, [2]),
    ("since some before", 5, 2, None, [3, 4, 5]),
    ("also across an anchor", 4, 3, None, [4]),
    ("across one that was never stored", 7, 4, None, [5, 7]),
    ("nothing is held", 5, None, 4, [5]),
    ("the anchor itself", 4, None, 4, []),
    ("held is no part of the chain", 5, 0, 4, [5]),
    ("the chain was broken by a new attempt", 8, 7, 8, []),
    ("held is newer than the way to it", 3, 5, 1, [2, 3]),
]


@pytest.mark.parametrize(
    ("_", "wanted", "held", "start", "deltas"), TABLE, ids=[row[0] for row in TABLE]
)
def test_the_way(
    _: str, wanted: int, held: int | None, start: int | None, deltas: list[int]
) -> None:
    path = path_to(CHAIN[wanted], None if held is None else (held, 1), load)
    assert (path.start.version if path.start else None) == start
    assert [one.version for one in path.deltas] == deltas


def test_what_is_held_of_another_attempt_is_another_version() -> None:
    path = path_to(CHAIN[5], (4, 2), load)
    assert path.start == CHAIN[4]


def lost(number: int) -> Callable[[int], WeightVersion]:
    def load_other(asked: int) -> WeightVersion:
        if asked == number:
            raise StoredVersionError("lost")
        return load(asked)

    return load_other


def test_a_gap_behind_the_anchor_harms_nobody() -> None:
    """Neither one who starts there, nor one who is behind it."""
    assert path_to(CHAIN[5], (2, 1), lost(3)).start == CHAIN[4]
    with pytest.raises(StoredVersionError, match="lost"):
        path_to(CHAIN[3], None, lost(2))


def test_a_chain_without_an_end_is_given_up() -> None:
    with pytest.raises(StoredVersionError, match=f"{MAX_CHAIN} deltas back"):
        path_to(version(5000, base=4999), None, lambda one: version(one, base=one - 1))


def test_a_version_that_is_based_on_itself_is_read_as_a_copy() -> None:
    """Not followed for as long as a chain may be."""
    itself = version(4, full=True, base=4)
    assert path_to(itself, (2, 1), lambda _: itself).start == itself
    with pytest.raises(StoredVersionError, match="no older one"):
        path_to(version(4, base=4), None, lambda _: itself)


def test_a_version_that_is_not_stored_says_so() -> None:
    with pytest.raises(StoredVersionError, match="neither a copy nor deltas"):
        path_to(version(3), None, load)
