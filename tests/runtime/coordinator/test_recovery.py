"""A coordinator with all its loops and routes in this process: opened, drained, restored."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sea_api.wire.coordinator_spec import CoordinatorSpec, RollbackOrder
from sea_api.wire.state import CoordinatorState, RollbackCheck
from sea_runtime.coordinator import app, snapshot, weight_manifests
from sea_runtime.coordinator.app import Settings
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.schema import MIGRATIONS
from sea_runtime.transport import stored_versions
from sea_runtime.wire.membership import PodState
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore
from sea_testing.models import put_tiny_model
from sea_testing.waiting import HANG_S

RUN = "s3://bucket/x/job"
LEDGER = f"{RUN}/ledger/ledger.sqlite"
HEAD = f"{RUN}/stages/rl/checkpoints/head.json"

Client = TestClient[web.Request, web.Application]


@pytest.fixture
def store() -> MemoryStore:
    found = MemoryStore()
    rows = [{"id": f"shop_{i}", "evaluation_criteria": "{}"} for i in range(3)]
    dialogue = {
        "messages": [{"role": "user", "content": "Hello"}],
        "answer": {"role": "assistant", "content": "Hello."},
    }
    found.put(kit.FILE, "\n".join(map(json.dumps, rows)).encode())
    found.put("s3://bucket/sft.jsonl", json.dumps(dialogue).encode())
    put_tiny_model(found, "s3://bucket/model")
    return found


def wanted(**changes: Any) -> CoordinatorSpec:
    spec = kit.spec()
    model = spec.model.model_copy(update={"source": "s3://bucket/model"})
    return kit.desired(spec.model_copy(update={"model": model})).model_copy(update=changes)


@asynccontextmanager
async def coordinator(folder: Path, store: Any) -> AsyncIterator[Client]:
    """On a volume of its own; ends with the block, as after a kill."""
    settings = Settings("job", "ns", kit.UID, "token", "127.0.0.1", folder)
    parts = app.Components(settings, store, store)
    served = app.with_loops(app.serve(parts, "token"), parts)
    headers = {"Authorization": "Bearer token"}
    async with TestClient(TestServer(served), headers=headers) as client:
        yield client


async def put(client: Client, spec: CoordinatorSpec) -> None:
    async with client.put("/v1/spec", data=spec.model_dump_json(by_alias=True)) as reply:
        assert reply.status == 200, await reply.text()


async def until(client: Client, seen: Callable[[CoordinatorState], bool]) -> CoordinatorState:
    """The first state in which something is seen."""
    async with asyncio.timeout(HANG_S):
        while True:
            async with client.get("/v1/state") as reply:
                state = CoordinatorState.model_validate_json(await reply.text())
            if seen(state):
                return state
            await asyncio.sleep(0.01)


def runs(state: CoordinatorState) -> bool:
    return bool(state.stages) and state.stages[0].phase == "Running"


async def beats(client: Client) -> None:
    """Both trainer pods call; their processes do not run."""
    for rank in (0, 1):
        beat = kit.beat(f"job-trainer-{rank}", "trainer", "life", state=PodState.STARTING)
        async with client.post("/v1/heartbeat", data=beat.model_dump_json()) as reply:
            assert reply.status == 200


async def test_calls_wait_until_there_is_a_ledger(tmp_path: Path, store: MemoryStore) -> None:
    async with coordinator(tmp_path, store) as client:
        request = {"pod": "r", "incarnation": "i"}
        async with client.post("/v1/leases/l/release", json=request) as reply:
            assert reply.status == 503
        await put(client, wanted())
        await until(client, runs)
        async with client.post("/v1/leases/l/release", json=request) as reply:
            assert reply.status == 409


async def test_a_killed_coordinator_opens_its_own_ledger(
    tmp_path: Path, store: MemoryStore
) -> None:
    async with coordinator(tmp_path, store) as client:
        await put(client, wanted())
        await until(client, runs)
    async with coordinator(tmp_path, store) as client:
        state = await until(client, runs)
    assert state.spec_digest == wanted().digest


async def drained(client: Client, store: MemoryStore) -> CoordinatorState:
    """One step was trained and committed, but rank 0 died before it could report that."""
    await put(client, wanted())
    await until(client, runs)
    await beats(client)
    row = {"attempt": 1, "step": 1, "total_steps": 3, "metrics": {}}
    async with client.post("/v1/stages/rl/progress", json=row) as reply:
        assert reply.status == 200
    key = "x/job/stages/rl/checkpoints/step-000001-a1/manifest.json"
    entry = {"step": 1, "version": 1, "bytes": 1, "time": 1.0, "manifest_key": key}
    head = json.dumps({"attempt": 1, "checkpoints": [entry]})
    store.put(f"{RUN}/stages/rl/checkpoints/head.json", head.encode())
    await put(client, wanted(drain=True, digest="drain"))
    await beats(client)
    return await until(client, lambda state: state.drained)


async def test_a_drained_job_resumes_on_an_empty_volume(tmp_path: Path, store: MemoryStore) -> None:
    async with coordinator(tmp_path / "first", store) as client:
        before = await drained(client, store)
    assert before.checkpoint is not None
    assert (before.checkpoint.stage, before.checkpoint.step) == ("rl", 1)
    # A suspended job's folder is complete: its coordinator is gone, maybe for days.
    (row,) = map(json.loads, store.get(f"{RUN}/reports/metrics.jsonl").splitlines())
    assert (row["stage"], row["step"]) == ("rl", 1)
    async with coordinator(tmp_path / "second", store) as client:
        await put(client, wanted(attempt=2, digest="resume"))
        state = await until(client, runs)
    assert (state.spec_digest, state.attempt, state.problem) == ("resume", 2, None)
    assert state.stages[0].step == 1
    assert state.checkpoint == before.checkpoint


@pytest.mark.parametrize(
    ("manifest", "expected"), [("k/step-a1/m", True), ("k/step-a2/m", False), (None, True)]
)
def test_a_drained_ledger_is_of_a_checkpoint_not_of_its_step(
    manifest: str | None, expected: bool
) -> None:
    """A run that goes back comes to the step again; an older release named no manifest."""
    newest = snapshot.Checkpoint("rl", kit.entry(60, "k/step-a1/m"))
    note = {"checkpoint": ["rl", 60], "stageIndex": 0, "manifest": manifest}
    assert snapshot.applies(note, newest) == expected
    assert not snapshot.applies(note, None)
    assert snapshot.applies({"checkpoint": None, "stageIndex": 0}, None)


async def test_a_restored_ledger_is_checked_off_the_event_loop(
    tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have gigabytes, and heartbeats and the kubelet's probes wait meanwhile."""
    async with coordinator(tmp_path / "first", store) as client:
        await drained(client, store)
    threads: list[threading.Thread] = []
    require_sound = snapshot.require_sound

    def noting(part: Path) -> None:
        threads.append(threading.current_thread())
        require_sound(part)

    monkeypatch.setattr(snapshot, "require_sound", noting)
    async with coordinator(tmp_path / "second", store) as client:
        await put(client, wanted())
        await until(client, runs)
    assert len(threads) == 1
    assert threading.current_thread() not in threads


async def test_a_stored_ledger_of_an_older_layout_is_migrated(
    tmp_path: Path, store: MemoryStore
) -> None:
    async with coordinator(tmp_path / "first", store) as client:
        await drained(client, store)
    old = tmp_path / "old.sqlite"
    with closing(Database(old, MIGRATIONS[:1])) as db:
        db.put_text("kept", "since layout 1")
        db.compact()
    store.put(LEDGER, old.read_bytes())
    async with coordinator(tmp_path / "second", store) as client:
        await put(client, wanted())
        await until(client, runs)
    with closing(Database(tmp_path / "second" / "ledger.sqlite")) as db:
        assert db.text("kept") == "since layout 1"
        assert db.value("PRAGMA user_version") == len(MIGRATIONS)


async def test_a_stored_ledger_of_a_newer_layout_is_a_problem(
    tmp_path: Path, store: MemoryStore
) -> None:
    async with coordinator(tmp_path / "first", store) as client:
        await drained(client, store)
    newer = tmp_path / "newer.sqlite"
    with closing(Database(newer, (*MIGRATIONS, "CREATE TABLE more (x);"))) as db:
        db.compact()
    store.put(LEDGER, newer.read_bytes())
    async with coordinator(tmp_path / "second", store) as client:
        await put(client, wanted())
        state = await until(client, lambda state: state.problem is not None)
    assert state.problem is not None
    assert state.problem.reason == "LedgerUnusable"
    assert state.problem.message.startswith(f"{LEDGER} can't be the ledger.")
    assert "a newer sea-operator wrote it" in state.problem.message


def test_copies_of_weights_after_the_checkpoint_are_not_offered_again() -> None:
    """An engine would start with a policy of batches that are drawn again now."""
    anchors = [kit.version(number, anchor=True) for number in (1, 2, 3)]
    user = anchors[2].model_copy(update={"stream": "user"})
    found = snapshot.of_this_line([*anchors, user], {"policy": 2, "user": 3})
    assert found == [*anchors[:2], user]


def test_a_stored_version_with_a_bad_manifest_is_left_out(store: MemoryStore) -> None:
    """Cut off, of another run, of a newer format, or under another number; the others are known."""
    run = "s3://runs/bad-manifests"
    good = kit.version(2, anchor=True).model_copy(update={"run_url": run})
    body = good.model_dump_json().encode()
    # Of a release that didn't write the run: known by the addresses of its bytes.
    shards = [
        shard.model_copy(update={"object_url": stored_versions.shard_url(run, "policy", 1, 0, 1)})
        for shard in good.shards
    ]
    oldest = good.model_copy(update={"version": 1, "shards": shards})
    older = oldest.model_copy(update={"run_url": ""}).model_dump_json().encode()
    bodies = {
        1: older,
        2: body,
        3: body[:-9],
        4: body,
        5: body.replace(b'"version":2', b'"version":5').replace(run.encode(), b"s3://runs/other"),
        6: body.replace(b'"version":2', b'"version":6').replace(b'"format":1', b'"format":2'),
    }
    for number, one in bodies.items():
        store.put(stored_versions.manifest_url(run, "policy", number), one)
    stand_in: Any = store
    found = weight_manifests.read_stored(stand_in, run)
    assert found.versions == [oldest, good]


def test_a_version_that_an_older_release_stored_is_found(store: MemoryStore) -> None:
    """Release 0.1.0 wrote neither the run nor a format; a copy in another run is still refused."""
    run, other = "s3://runs/of-0-1-0", "s3://runs/copied-from-0-1-0"
    good = kit.version(2, anchor=True)
    url = stored_versions.shard_url(run, "policy", 2, 0, 1)
    shards = [one.model_copy(update={"object_url": url}) for one in good.shards]
    good = good.model_copy(update={"shards": shards, "run_url": run})
    body = good.model_dump_json(exclude={"run_url", "format", "check"}).encode()
    stand_in: Any = store
    for place in (run, other):
        store.put(stored_versions.manifest_url(place, "policy", 2), body)
    assert weight_manifests.read_stored(stand_in, run).versions == [good]
    assert weight_manifests.read_stored(stand_in, other).versions == []


async def two_checkpoints(client: Client, folder: Path) -> list[dict[str, Any]]:
    """Of steps 1 and 2, with their snapshots in the store; returns their entries of the head."""
    entries = []
    for step in (1, 2):
        url = f"/v1/stages/rl/snapshot?step={step}&attempt=1"
        with closing(Database(folder / "ledger.sqlite")) as db, db.transaction():
            db.run("INSERT INTO batches VALUES ('rl', ?, 0, 0.5, 0, 0, 0)", step)
            db.run(
                "INSERT INTO groups (id, stage, kind, row_key, domain, samples, state, step) "
                "VALUES (?, 'rl', 'Train', 'k', 'shop', 2, 'Assigned', ?)",
                f"g{step}",
                step,
            )
        async with client.post(url) as reply:
            assert reply.status == 200, await reply.text()
            taken = await reply.json()
        key = f"x/job/stages/rl/checkpoints/step-{step:06d}-a1/manifest.json"
        entry = {"step": step, "version": step, "bytes": 1, "manifest_key": key}
        async with client.post("/v1/stages/rl/checkpoints", json={"attempt": 1, **entry}) as reply:
            assert reply.status == 200, await reply.text()
        entries.append({**entry, "time": 1.0, "ledger": {**taken, "name": ""}})
    return entries


def manifests(store: MemoryStore, entries: list[dict[str, Any]]) -> None:
    """Stores the manifests of entries, and a head that names them."""
    for entry in entries:
        ledger = entry.pop("ledger")
        body = {"format": 2, "step": entry["step"], "objects": [], "ledger": ledger}
        store.put(f"s3://bucket/{entry['manifest_key']}", json.dumps(body).encode())
    store.put(HEAD, json.dumps({"attempt": 1, "checkpoints": entries}).encode())


async def test_a_request_to_go_back_is_looked_at_and_carried_out_over_http(
    tmp_path: Path, store: MemoryStore
) -> None:
    """No training process runs in between, and none commits for an older attempt after it."""
    order = RollbackOrder(stage="rl", step=1, generation=7)
    async with coordinator(tmp_path, store) as client:
        await put(client, wanted())
        await until(client, runs)
        manifests(store, await two_checkpoints(client, tmp_path))
        await put(client, wanted(digest="look", rollback=order))
        state = await until(client, lambda state: state.rollback_check is not None)
        assert state.rollback_check == RollbackCheck(generation=7)
        assert json.loads(store.get(HEAD))["checkpoints"][-1]["step"] == 2
        order = order.model_copy(update={"attempt": 2})
        await put(client, wanted(digest="go", attempt=2, rollback=order))

        def done(state: CoordinatorState) -> bool:
            return state.rollback_check is not None and state.rollback_check.done

        state = await until(client, done)
        assert state.rollback is not None
        assert (state.rollback.from_step, state.rollback.step) == (2, 1)
        assert state.checkpoint is not None
        assert (state.checkpoint.step, state.attempt) == (1, 2)
        head = json.loads(store.get(HEAD))
        assert [one["step"] for one in head["checkpoints"]] == [1]
        assert (head["attempt"], head["rollback"]["generation"]) == (2, 7)
        assert not [url for url in store.objects if "step-000002" in url]


async def test_a_trainer_that_resumes_behind_the_ledger_takes_it_back(
    tmp_path: Path, store: MemoryStore
) -> None:
    """Over HTTP: 204 while the ledger goes back, never 410 for ever."""
    async with coordinator(tmp_path, store) as client:
        await put(client, wanted())
        await until(client, runs)
        await beats(client)
        manifests(store, (await two_checkpoints(client, tmp_path))[:1])
        # The head names step 1: that of step 2 was damaged or rolled back.
        async with client.get("/v1/stages/rl/batches/2?attempt=1") as reply:
            assert reply.status == 204, await reply.text()
        state = await until(client, lambda state: state.rollback is not None)
        assert state.checkpoint is not None
        assert state.checkpoint.step == 1
        assert state.rollback is not None
        assert (state.rollback.from_step, state.rollback.step) == (2, 1)
        async with client.get("/v1/stages/rl/batches/1?attempt=1") as reply:
            assert reply.status == 410, "the head doesn't lead there"
