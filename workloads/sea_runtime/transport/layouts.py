"""The part of a version's manifest that never changes, sent once: where each block is. Pure.

A trainer's layout of Qwen3-235B has 300,000 blocks, some 60 MB of JSON; from version to version
only checksums and addresses differ. So a version travels *compact*: each shard names its layout by
digest and has its blocks' numbers in one packed string. A reader that lacks a layout asks for it by
digest: the coordinator asks the trainer, an engine's worker the coordinator. Without torch: the
coordinator reads it too.
"""

import base64
import hashlib
import json
import sys
from array import array
from collections.abc import Mapping, Sequence

from sea_runtime.errors import RuntimeFailure
from sea_runtime.wire.weights import Block, Shard, ShardLayout, WeightVersion

NUMBERS = ("checksum", "weighted_sum")
"""Fields of a block that differ from version to version: 64-bit, not negative."""


class UnknownLayoutError(RuntimeFailure):
    """A compact version names layouts that the reader doesn't have: ask for them by digest."""

    permanent = False

    def __init__(self, digests: Sequence[str]) -> None:
        super().__init__(f"The layouts {', '.join(digests)} of the version's shards aren't known.")
        self.digests = list(digests)


def compact(version: WeightVersion) -> WeightVersion:
    """The version without what its layouts say."""
    shards = []
    for shard in version.shards:
        if shard.blocks:
            # A publisher knows the name, which takes a second to compute for a large model.
            name = shard.layout or digest(layout_of(shard.blocks))
            update = {"blocks": [], "layout": name, "numbers": _pack(shard.blocks)}
            shards.append(shard.model_copy(update=update))
        else:
            shards.append(shard)
    return version.model_copy(update={"shards": shards})


def layouts_of(version: WeightVersion) -> dict[str, ShardLayout]:
    """The layouts of a version with blocks, by digest."""
    found = [layout_of(shard.blocks) for shard in version.shards if shard.blocks]
    return {digest(layout): layout for layout in found}


def expand(version: WeightVersion, layouts: Mapping[str, ShardLayout]) -> WeightVersion:
    """The version with all its blocks.

    Raises:
        UnknownLayoutError: names the layouts that are missing.
        ValueError: a shard has other numbers than its layout has blocks.
    """
    if absent := missing(version, layouts):
        raise UnknownLayoutError(absent)
    shards = [
        _expand(shard, layouts[shard.layout]) if is_compact(shard) else shard
        for shard in version.shards
    ]
    return version.model_copy(update={"shards": shards})


def is_compact(shard: Shard) -> bool:
    return bool(shard.layout) and not shard.blocks


def missing(version: WeightVersion, layouts: Mapping[str, object]) -> list[str]:
    """Digests of the version's layouts that aren't known."""
    named = dict.fromkeys(shard.layout for shard in version.shards if is_compact(shard))
    return [name for name in named if name not in layouts]


def layout_of(blocks: Sequence[Block]) -> ShardLayout:
    cleared = dict.fromkeys(NUMBERS, 0)
    return ShardLayout(blocks=[block.model_copy(update=cleared) for block in blocks])


def digest(layout: ShardLayout) -> str:
    body = json.dumps(layout.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(body.encode()).hexdigest()


def _pack(blocks: Sequence[Block]) -> str:
    """Base64 of little-endian 64-bit numbers, field by field."""
    found = array("Q", (getattr(block, field) for field in NUMBERS for block in blocks))
    return base64.b64encode(_little_endian(found).tobytes()).decode()


def _expand(shard: Shard, layout: ShardLayout) -> Shard:
    found = _little_endian(array("Q", base64.b64decode(shard.numbers, validate=True)))
    count = len(layout.blocks)
    if len(found) != len(NUMBERS) * count:
        raise ValueError(
            f"Shard {shard.rank} has {len(found)} numbers for the {count} blocks of its layout."
        )
    columns = [found[index * count : (index + 1) * count] for index in range(len(NUMBERS))]
    blocks = [
        block.model_copy(update=dict(zip(NUMBERS, row, strict=True)))
        for block, *row in zip(layout.blocks, *columns, strict=True)
    ]
    return shard.model_copy(update={"blocks": blocks, "numbers": ""})


def _little_endian(numbers: "array[int]") -> "array[int]":
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
