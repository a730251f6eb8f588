"""The layout of a version is sent to the coordinator once, and handed to engines by its digest."""

import asyncio
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.coordinator.app import Components, serve
from sea_runtime.coordinator.errors import RefusedError, UnknownLayoutsError
from sea_runtime.coordinator.ledger import registry
from sea_runtime.transport import layouts
from sea_runtime.wire.weights import Block, ShardLayout, WeightVersion
from sea_testing.coordinator import inprocess as kit


@pytest.fixture
def core(tmp_path: Path) -> Components:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())


def version(number: int, *, anchor: bool = False) -> WeightVersion:
    block = Block(
        name="w", tensor=[4], start=[0], shape=[4], dtype="float32", offset=0, nbytes=16, checksum=9
    )
    found = kit.version(number, anchor=anchor)
    shards = [shard.model_copy(update={"blocks": [block]}) for shard in found.shards]
    return found.model_copy(update={"shards": shards})


def test_a_layout_is_asked_for_once(core: Components) -> None:
    """All versions name it, and an engine that starts late gets it by its name."""
    compact = [layouts.compact(version(number)) for number in (1, 2)]
    with pytest.raises(UnknownLayoutsError):
        core.weights.publish(compact[0])
    assert core.weights.newest("policy") == 0
    ((digest, layout),) = layouts.layouts_of(version(1)).items()
    core.weights.add_layout(digest, layout)
    for one in compact:
        core.weights.publish(one)
    newest = kit.some(kit.some(core.weights.query("policy", 0)).newest)
    assert newest == compact[1]
    assert core.weights.layout(newest.shards[0].layout) == layout


def test_a_restored_anchor_is_compact_too_and_stored_whole(core: Components) -> None:
    """Its manifest in the store has all blocks, since it outlives the ledger."""
    with core.ledger.db.transaction():
        registry.add_anchor(core.ledger.db, version(1, anchor=True), 0.0)
    found = kit.some(kit.some(core.weights.query("policy", 0)).newest)
    assert found.shards[0].blocks == []
    assert core.weights.expanded(found).shards[0].blocks == version(1).shards[0].blocks


def of_height(number: int, rows: int, *, anchor: bool = False) -> WeightVersion:
    """With a layout of its own for each number of rows."""
    found = version(number, anchor=anchor)
    block = found.shards[0].blocks[0].model_copy(update={"tensor": [rows]})
    shards = [shard.model_copy(update={"blocks": [block]}) for shard in found.shards]
    return found.model_copy(update={"shards": shards})


def test_old_versions_leave_neither_shards_nor_layouts(core: Components) -> None:
    """But their numbers; and the newest copy in the object store, however old it is."""
    names: list[str] = []

    def publish(found: WeightVersion) -> None:
        ((digest, layout),) = layouts.layouts_of(found).items()
        if digest not in names:
            names.append(digest)
            core.weights.add_layout(digest, layout)
        core.weights.publish(layouts.compact(found))

    def known() -> list[bool]:
        return [registry.layout(core.ledger.db, name) is not None for name in names]

    publish(of_height(1, 5, anchor=True))
    publish(of_height(2, 6, anchor=True))
    for number in range(3, 3 + registry.KEPT):
        publish(of_height(number, 7))
    assert known() == [True, True, True]
    for number in (100, 101):
        publish(of_height(number, number))
    assert known() == [False, True, False, True, True]
    bodies = [row[0] for row in core.ledger.db.rows("SELECT body FROM weights ORDER BY version")]
    assert [bool(body) for body in bodies] == [False] * (2 + registry.KEPT) + [True, True]
    reply = kit.some(core.weights.query("policy", 0))
    assert (kit.some(reply.newest).version, kit.some(reply.anchor).version) == (101, 2)


def test_wrong_and_unknown_digests_are_refused(core: Components) -> None:
    with pytest.raises(RefusedError, match="is not abc"):
        core.weights.add_layout("abc", ShardLayout(blocks=[]))
    with pytest.raises(RefusedError, match="no layout abc"):
        core.weights.layout("abc")


async def test_a_trainer_sends_and_an_engine_gets_it_over_http(core: Components) -> None:
    """The trainer's client sends the layout because it is asked for, and the version again."""
    async with (
        TestServer(serve(core, "token")) as server,
        AsyncCoordinatorClient(str(server.make_url("")), "token") as engine,
    ):
        trainer = CoordinatorClient(str(server.make_url("")), "token")
        for number in (1, 2):
            await asyncio.to_thread(trainer.publish, version(number))
        newest = kit.some((await engine.newer_weights("policy", 0, 0.0, "late")).newest)
        assert newest.shards[0].blocks == []
        name = newest.shards[0].layout
        found = layouts.expand(newest, {name: await engine.layout(name)})
        assert found.shards[0].blocks == version(2).shards[0].blocks
