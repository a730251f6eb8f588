"""The layout of a version is sent to the coordinator once, and handed to engines by its digest."""

import asyncio
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from sea_runtime.client.async_client import AsyncCoordinatorClient
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.coordinator import weight_manifests
from sea_runtime.coordinator.app import Components, serve
from sea_runtime.coordinator.errors import RefusedError, UnknownLayoutsError
from sea_runtime.coordinator.ledger import registry
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.schema import MIGRATIONS
from sea_runtime.transport import layouts
from sea_runtime.wire.weights import Block, ShardLayout, WeightVersion
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore


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
    core.weights.add_layout(digest, layout.model_dump_json())
    for one in compact:
        core.weights.publish(one)
    newest = kit.some(kit.some(core.weights.query("policy", 0)).newest)
    assert newest == compact[1]
    assert core.weights.layout(newest.shards[0].layout) == layout.model_dump_json()


def blocks(count: int) -> list[Block]:
    """With numbers of all sizes, and a name that looks like JSON."""
    return [
        Block(
            name='"checksum":0,"weighted_sum":0}' if index == 1 else f"w{index}",
            tensor=[4],
            start=[],
            shape=[4],
            dtype="float32",
            offset=16 * index,
            nbytes=16,
            checksum=2**64 - 1 - index,
            weighted_sum=index,
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("counts", [[], [0], [1], [3, 0, 2]])
def test_a_stored_manifest_is_what_the_version_is_with_its_blocks(counts: list[int]) -> None:
    """Byte for byte, though no block is parsed for it."""
    (shard,) = kit.version(1, anchor=True).shards
    shards = [
        shard.model_copy(update={"rank": rank, "blocks": blocks(count)})
        for rank, count in enumerate(counts)
    ]
    whole = kit.version(1, anchor=True).model_copy(update={"shards": shards})
    compact, known = layouts.compact(whole), layouts.layouts_of(whole)
    texts = {digest: layout.model_dump_json() for digest, layout in known.items()}
    text = weight_manifests.expanded_json(compact, texts)
    assert text == layouts.expand(compact, known).model_dump_json()


def test_numbers_of_another_layout_are_refused() -> None:
    compact = layouts.compact(version(1))
    text = ShardLayout(blocks=blocks(2)).model_dump_json()
    with pytest.raises(ValueError, match="numbers for the 0 blocks"):
        weight_manifests.expanded_json(compact, {compact.shards[0].layout: text})


async def test_an_anchor_is_stored_whole_and_restored_compact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest outlives the ledger; none of its blocks is touched on the event loop."""
    store: Any = MemoryStore()
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock(), store)
    threads: list[threading.Thread] = []

    def noting(call: Any) -> Any:
        def noted(*values: Any) -> Any:
            threads.append(threading.current_thread())
            return call(*values)

        return noted

    for name in ("checked_layout", "expanded_json"):
        monkeypatch.setattr(weight_manifests, name, noting(getattr(weight_manifests, name)))
    async with TestServer(serve(core, "token")) as server:
        trainer = CoordinatorClient(str(server.make_url("")), "token", retry_timeout=0.0)
        await asyncio.to_thread(trainer.publish, version(1, anchor=True))
    assert len(threads) == 2
    assert threading.current_thread() not in threads
    found = weight_manifests.read_stored(store, core.job.desired.run_url)
    (stored,) = found.versions
    assert stored.shards[0].blocks == []
    known = {name: ShardLayout.model_validate_json(text) for name, text in found.layouts.items()}
    assert layouts.expand(stored, known).shards[0].blocks == version(1).shards[0].blocks


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
            core.weights.add_layout(digest, layout.model_dump_json())
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


def test_layouts_are_forgotten_without_a_look_at_any_body(core: Components) -> None:
    """Thirty versions of a large model have some 100 MB of JSON, and the event loop waits."""
    ((digest, layout),) = layouts.layouts_of(version(1)).items()
    core.weights.add_layout(digest, layout.model_dump_json())
    core.weights.publish(layouts.compact(version(1)))
    with core.ledger.db.transaction():
        core.ledger.db.run("UPDATE weights SET body = 'no JSON'")
    core.weights.add_layout("unused", "{}")
    registry.forget_layouts(core.ledger.db)
    assert registry.layout(core.ledger.db, digest) is not None
    assert registry.layout(core.ledger.db, "unused") is None


def test_a_ledger_of_an_older_layout_knows_what_its_versions_name(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "old", MIGRATIONS[:5])) as old:
        for number in (1, 2):
            found = layouts.compact(of_height(number, number, anchor=True))
            body = found.model_dump_json()
            with old.transaction():
                old.run(
                    "INSERT INTO weights VALUES ('policy', ?, 1, ?, ?, 0)",
                    number,
                    body if number == 2 else "",
                    body if number == 1 else None,
                )
    with closing(Database(tmp_path / "old")) as db:
        named = db.rows("SELECT version, digest FROM version_layouts ORDER BY version")
        expected = [(n, next(iter(layouts.layouts_of(of_height(n, n))))) for n in (1, 2)]
        assert [tuple(row) for row in named] == expected


def test_wrong_and_unknown_digests_are_refused(core: Components) -> None:
    with pytest.raises(RefusedError, match="is not abc"):
        weight_manifests.checked_layout("abc", b'{"blocks":[]}')
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
