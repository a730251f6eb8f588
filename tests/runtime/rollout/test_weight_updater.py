"""Which weight version the updater tries next, as a table."""

import pytest

from sea_runtime.rollout.weight_updater import choose
from sea_runtime.wire.weights import Shard, WeightQueryReply, WeightVersion


def version(number: int, attempt: int = 1, url: str | None = None) -> WeightVersion:
    shard = Shard(rank=0, nbytes=1, blocks=[], object_url=url)
    return WeightVersion(
        stream="policy", version=number, attempt=attempt, stage="rl", step=1, shards=[shard]
    )


NEWEST, ANCHOR = version(5), version(3, url="s3://runs/v3")

TABLE = [
    ("nothing is newer", None, None, 5, None, None),
    ("the newest first", NEWEST, ANCHOR, 2, None, NEWEST),
    ("the anchor after the newest failed", NEWEST, ANCHOR, 2, NEWEST, ANCHOR),
    ("the newest again after the anchor failed", NEWEST, ANCHOR, 2, ANCHOR, NEWEST),
    ("never back", NEWEST, ANCHOR, 3, NEWEST, NEWEST),
    ("the newest again where there is no anchor", NEWEST, None, 2, NEWEST, NEWEST),
    ("a new trainer's is another one", version(5, 2), ANCHOR, 2, NEWEST, version(5, 2)),
    ("so is the next", version(6), ANCHOR, 2, NEWEST, version(6)),
    ("and the same with a copy", version(5, 1, "s3://x"), None, 2, NEWEST, version(5, 1, "s3://x")),
]


@pytest.mark.parametrize(
    ("_", "newest", "anchor", "served", "failed", "wanted"), TABLE, ids=[row[0] for row in TABLE]
)
def test_choice(
    _: str,
    newest: WeightVersion | None,
    anchor: WeightVersion | None,
    served: int,
    failed: WeightVersion | None,
    wanted: WeightVersion | None,
) -> None:
    reply = WeightQueryReply(newest=newest, required=0, anchor=anchor)
    assert choose(reply, served, failed) == wanted
