"""Weight versions as the object store keeps them: next to their bytes, with all their blocks.

For a large model a manifest has tens of megabytes, whose parsing takes seconds: nothing here runs
on the event loop, and what the loop reads of the ledger for it is text.
"""

import base64
import logging
import sys
from array import array
from collections.abc import Mapping
from typing import NamedTuple

from sea_data import urls
from sea_runtime.coordinator import stage_plan
from sea_runtime.coordinator.errors import RefusedError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.transport import layouts, stored_versions
from sea_runtime.transport.stored_versions import StoredVersionError
from sea_runtime.wire.weights import Shard, ShardLayout, WeightVersion

log = logging.getLogger(__name__)

_NUMBERS = ",".join(f'"{name}":{{}}' for name in layouts.NUMBERS)
"""How a block's JSON ends, which has them last."""


class StoredVersions(NamedTuple):
    """What the object store has of a run's versions."""

    versions: list[WeightVersion]
    """Compact, oldest first."""
    layouts: dict[str, str]
    """JSON of the layouts that they name, by digest."""


def read_stored(store: ObjectStore, run_url: str) -> StoredVersions:
    """All versions that the object store has. Blocking.

    A manifest that can't be used is left out: the version then counts as one that was never stored.
    """
    found, texts = [], {}
    for stream in stage_plan.STREAMS:
        prefix = urls.folder(stored_versions.folder(run_url, stream))
        for item in store.list(prefix):
            # A kill before the manifest was written leaves shards without one: they are no version.
            if not item.url.endswith("/" + stored_versions.MANIFEST):
                continue
            try:
                version = stored_versions.parse(store.get(item.url), item.url, run_url, stream)
            except StoredVersionError as error:
                log.warning("A stored weight version is left out: %s", error)
                continue
            for digest, layout in layouts.layouts_of(version).items():
                texts[digest] = layout.model_dump_json()
            # One at a time: with its blocks a large model's version takes a gigabyte.
            found.append(layouts.compact(version))
    return StoredVersions(sorted(found, key=lambda version: version.version), texts)


def checked_layout(digest: str, body: bytes) -> str:
    """The layout's JSON as the ledger keeps it. Takes seconds for a large model.

    Raises:
        ValidationError: the body is no layout.
        RefusedError: it is another layout's digest.
    """
    layout = ShardLayout.model_validate_json(body)
    if layouts.digest(layout) != digest:
        raise RefusedError(f"The layout in the body is not {digest}.")
    return layout.model_dump_json()


def expanded_json(version: WeightVersion, texts: Mapping[str, str]) -> str:
    """JSON of `layouts.expand(version, ...)`, without an object per block.

    Args:
        texts: JSON of the layouts that the version names, by digest.

    Raises:
        ValueError: a shard has other numbers than its layout has blocks.
    """
    shards = ",".join(_shard(shard, texts) for shard in version.shards)
    head = version.model_copy(update={"shards": []}).model_dump_json()
    # Quotes within a string are escaped: what is replaced here and below is no part of a value.
    return head.replace('"shards":[]', f'"shards":[{shards}]', 1)


def _shard(shard: Shard, texts: Mapping[str, str]) -> str:
    if not layouts.is_compact(shard):
        return shard.model_dump_json()
    numbers = array("Q", base64.b64decode(shard.numbers, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    # A layout has zeros where the numbers of a version belong.
    pieces = texts[shard.layout].split(_NUMBERS.format(*(0 for _ in layouts.NUMBERS)))
    count = len(pieces) - 1
    if len(numbers) != len(layouts.NUMBERS) * count:
        raise ValueError(
            f"Shard {shard.rank} has {len(numbers)} numbers for the {count} blocks of its layout."
        )
    columns = [numbers[i * count : (i + 1) * count] for i in range(len(layouts.NUMBERS))]
    filled = [
        piece + _NUMBERS.format(*row) for piece, *row in zip(pieces[:-1], *columns, strict=True)
    ]
    # `{"blocks":[...]}`: of the list, which takes the place of the shard's empty one.
    blocks = ("".join(filled) + pieces[-1]).removeprefix('{"blocks":').removesuffix("}")
    head = shard.model_copy(update={"numbers": ""}).model_dump_json()
    return head.replace('"blocks":[]', f'"blocks":{blocks}', 1)
