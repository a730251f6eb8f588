"""A version's layout is sent once: what travels with each version, and what comes back of it."""

import pytest

from sea_runtime.transport import layouts
from sea_runtime.transport.layouts import UnknownLayoutError
from sea_runtime.wire.weights import Block, Shard, WeightVersion

BLOCKS = 3000
"""Of a shard: at TP 8 a trainer rank of Qwen3-235B has 6,000."""


def version(number: int, ranks: int = 2) -> WeightVersion:
    shards = [
        Shard(
            rank=rank,
            nbytes=64 * BLOCKS,
            blocks=[
                Block(
                    name=f"model.layers.{index}.mlp.experts.{rank}.down_proj.weight",
                    tensor=[4096, 1536],
                    start=[0, 192],
                    shape=[4096, 192],
                    dtype="bfloat16",
                    offset=64 * index,
                    nbytes=64,
                    checksum=(number + index) * 0x9E3779B97F4A7C15 % 2**64,
                )
                for index in range(BLOCKS)
            ],
            nixl_agent=f"a{rank}",
            nixl_metadata="m",
            nixl_address=number,
        )
        for rank in range(ranks)
    ]
    return WeightVersion(
        stream="policy", version=number, attempt=1, stage="rl", step=number, shards=shards
    )


def test_a_version_comes_back_whole() -> None:
    sent, named = layouts.compact(version(1)), layouts.layouts_of(version(1))
    for found in (sent, WeightVersion.model_validate_json(sent.model_dump_json())):
        back = layouts.expand(found, named)
        assert [shard.blocks for shard in back.shards] == [
            shard.blocks for shard in version(1).shards
        ]
        # Its layouts are named already: sent on, they aren't computed again.
        assert layouts.compact(back) == sent


def test_versions_of_one_trainer_name_the_same_layouts() -> None:
    """And are a fraction of them: 11 bytes per number and block instead of hundreds."""
    first, second = layouts.compact(version(1)), layouts.compact(version(2))
    assert [shard.layout for shard in first.shards] == [shard.layout for shard in second.shards]
    assert len(second.model_dump_json()) < 12 * len(layouts.NUMBERS) * 2 * BLOCKS
    assert len(second.model_dump_json()) < 0.12 * len(version(2).model_dump_json())


def test_another_layout_has_another_name() -> None:
    """Also if a single block is elsewhere."""
    one = version(1, ranks=1)
    shard = one.shards[0]
    moved = [*shard.blocks[:-1], shard.blocks[-1].model_copy(update={"offset": 1 << 30})]
    other = one.model_copy(update={"shards": [shard.model_copy(update={"blocks": moved})]})
    assert layouts.layouts_of(one).keys() != layouts.layouts_of(other).keys()


def test_an_unknown_layout_is_named() -> None:
    sent, named = layouts.compact(version(1)), layouts.layouts_of(version(1))
    first, second = named
    with pytest.raises(UnknownLayoutError) as error:
        layouts.expand(sent, {first: named[first]})
    assert error.value.digests == [second]


@pytest.mark.parametrize("numbers", ["", "AAAA", "?"])
def test_damaged_numbers_are_refused(numbers: str) -> None:
    whole = version(1, ranks=1)
    sent, named = layouts.compact(whole), layouts.layouts_of(whole)
    shard = sent.shards[0].model_copy(update={"numbers": numbers})
    with pytest.raises(ValueError, match=r".+"):
        layouts.expand(sent.model_copy(update={"shards": [shard]}), named)


def test_what_is_not_compact_stays_as_it_is() -> None:
    whole = version(1)
    assert layouts.expand(whole, {}) is not whole
    assert layouts.expand(whole, {}) == whole
    empty = whole.model_copy(update={"shards": []})
    assert layouts.compact(empty) == empty
