"""What a person finds in the run's folder while the run goes on, and what made the run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sea_api.v1alpha1.job import Spec
from sea_cli import main
from sea_data.object_store import StoreUnavailableError
from sea_runtime.coordinator import evaluation, run_record
from sea_runtime.coordinator.app import Components
from sea_runtime.coordinator.data_check import CheckedData
from sea_runtime.coordinator.ledger import stages, transcripts
from sea_runtime.wire.membership import Software
from sea_runtime.wire.rollouts import Lease, LeaseRequest
from sea_runtime.wire.trainer import CheckpointCommitted, StageProgress
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore

RUN = "s3://bucket/x/job"
METRICS = f"{RUN}/reports/metrics.jsonl"
POD, LIFE = "rollout-0", "life"
TALK = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello."}]


class BrokenStore(MemoryStore):
    """Takes no writes while `away`; `cut` stores the object and loses the answer."""

    away = cut = False

    def put(self, url: str, body: bytes) -> None:
        if not self.away:
            super().put(url, body)
        if self.away or self.cut:
            raise StoreUnavailableError(f"PUT {url}: no answer. Look at the store.")


@pytest.fixture
def store() -> BrokenStore:
    return BrokenStore()


@pytest.fixture
def clock() -> kit.Clock:
    return kit.Clock()


@pytest.fixture
def core(tmp_path: Path, clock: kit.Clock, store: BrokenStore) -> Components:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), clock, store)


def coordinator(folder: Path, spec: Spec, store: MemoryStore) -> Components:
    return kit.coordinator(folder, kit.desired(spec), kit.Clock(), store)


def take(core: Components, version: int = 0) -> Sequence[Lease]:
    core.heartbeats.heard(kit.beat(POD, "rollout", LIFE, adopted=version))
    found = core.scheduler.lease(LeaseRequest(pod=POD, incarnation=LIFE, want=64, holding=[]))
    return found.leases if found else []


def play(core: Components, rewards: Sequence[float] = (0.0, 1.0), version: int = 0) -> None:
    """Plays all episodes that may run now; the samples of each group earn `rewards`."""
    for lease in take(core, version):
        reward = rewards[lease.sample]
        result = replace(kit.result(lease, POD, LIFE, reward), transcript=TALK, seconds=2.5)
        assert core.scheduler.result(result)


def fix_batch(core: Components, step: int = 1) -> None:
    assert core.training.batch("rl", step, core.job.attempt) is not None


def report(core: Components, step: int, attempt: int = 1, **metrics: float) -> None:
    row = StageProgress(attempt=attempt, step=step, total_steps=3, metrics=metrics)
    core.training.report("rl", row)


def file_of(step: int) -> str:
    return f"{RUN}/rollouts/rl/step-{step:06d}.episodes.jsonl"


def episodes(store: MemoryStore, step: int = 1) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store.get(file_of(step)).splitlines()]


def metrics(store: MemoryStore) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store.get(METRICS).splitlines()]


def record(store: MemoryStore) -> run_record.RunRecord:
    return run_record.parse(store.get(f"{RUN}/run.json"))


async def test_a_steps_dialogues_and_metrics_are_there_while_the_stage_runs(
    core: Components, store: BrokenStore
) -> None:
    play(core)
    await core.folder.catch_up()
    assert file_of(1) not in store.objects  # no batch has taken them yet
    fix_batch(core)
    report(core, 1, reward=0.5, loss=0.1)
    await core.folder.catch_up()
    found = episodes(store)
    assert [(row["trial"], row["reward"]) for row in found] == [(0, 0.0), (1, 1.0)] * 2
    assert len({row["task"] for row in found}) == 2
    assert found[0]["transcript"] == TALK
    assert found[0]["seconds"] == 2.5
    (row,) = metrics(store)
    assert (row["stage"], row["step"], row["metrics"]) == ("rl", 1, {"reward": 0.5, "loss": 0.1})


async def test_sea_report_and_sea_replay_read_a_steps_file(
    core: Components, store: BrokenStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(core)
    fix_batch(core)
    await core.folder.catch_up()
    folder = tmp_path / "rollouts"
    folder.mkdir()
    file = folder / "step-000001.episodes.jsonl"
    file.write_bytes(store.get(file_of(1)))
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "--stage", "step-000001", "--out", str(page)]) == 0
    assert "4 episodes" in capsys.readouterr().out
    assert main(["replay", str(file), "--number", "1"]) == 0
    assert "Hello." in capsys.readouterr().out


async def test_dialogues_of_dropped_groups_are_there_and_say_so(
    tmp_path: Path, store: BrokenStore, capsys: pytest.CaptureFixture[str]
) -> None:
    core = coordinator(tmp_path, kit.spec(maxConcurrentGroups=2), store)
    play(core, (1.0, 1.0))
    await core.folder.catch_up()
    assert not [name for name in store.objects if "rollouts" in name], "no step counts them yet"
    play(core)
    fix_batch(core)
    await core.folder.catch_up()
    assert {row["reward"] for row in episodes(store)} == {0.0, 1.0}
    assert "dropped" not in episodes(store)[0]
    name = "step-000001-dropped.episodes.jsonl"
    body = store.get(f"{RUN}/rollouts/rl/{name}")
    rows = [json.loads(line) for line in body.splitlines()]
    assert [row["reward"] for row in rows] == [1.0] * 4
    assert {row["dropped"] for row in rows} == {"All rewards of the group are equal."}
    assert rows[0]["transcript"] == TALK
    assert core.ledger.db.value("SELECT COUNT(*) FROM transcripts") == 0
    (tmp_path / name).write_bytes(body)
    assert main(["replay", str(tmp_path / name), "--number", "1"]) == 0
    assert "All rewards of the group are equal." in capsys.readouterr().out


async def test_dropped_groups_that_no_batch_counts_do_not_fill_the_volume(
    tmp_path: Path, store: BrokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "MAX_DROPPED", 3)
    core = coordinator(tmp_path, kit.spec(), store)
    for _ in range(4):
        play(core, (0.0, 0.0))
    assert core.ledger.db.value("SELECT COUNT(*) FROM transcripts") == 3 * 2
    stages.finish(core.ledger.db, "rl", 1000.0)
    assert core.ledger.db.value("SELECT COUNT(*) FROM transcripts") == 0


async def test_an_evaluations_episodes_are_there_while_it_runs(
    tmp_path: Path, store: BrokenStore, clock: kit.Clock
) -> None:
    block = {"tasks": [kit.FILE], "trials": 2}
    spec = kit.spec([{"name": "eval", "type": "Evaluation", "evaluation": block}])
    core = kit.coordinator(tmp_path, kit.desired(spec), clock, store)
    stage = kit.some(core.job.stage)
    evaluation.issue(core.ledger.db, stage, kit.task_rows(2))
    file = f"{RUN}/evaluation/eval.episodes.jsonl"
    await core.folder.catch_up()
    assert file not in store.objects
    for count, lease in enumerate(take(core), 1):
        result = replace(kit.result(lease, POD, LIFE, 1.0), transcript=TALK)
        assert core.scheduler.result(result)
        await core.folder.catch_up()
        rows = [json.loads(line) for line in store.get(file).splitlines()]
        assert [row["reward"] for row in rows] == [1.0] * count
        assert rows[0]["transcript"] == TALK
    running = store.get(file)
    await core.controller._reports.write(stage)
    assert store.get(file) == running, "the end replaces it by the same"


async def test_a_store_that_is_away_stops_no_step_and_gets_all_of_them_later(
    core: Components, store: BrokenStore
) -> None:
    store.away = True
    for step in (1, 2):
        play(core, version=step - 1)
        fix_batch(core, step)
        report(core, step)
        await core.folder.catch_up()
    assert core.problems.first is None
    assert METRICS not in store.objects
    store.away = False
    await core.folder.catch_up()
    assert [row["step"] for row in metrics(store)] == [1, 2]
    assert [len(episodes(store, step)) for step in (1, 2)] == [4, 4]


async def test_dialogues_survive_the_checkpoint_that_covers_their_step(
    core: Components, store: BrokenStore
) -> None:
    play(core)
    fix_batch(core)
    commit = CheckpointCommitted(attempt=1, step=1, version=1, bytes=1, manifest_key="k")
    core.training.committed("rl", commit)
    await core.folder.catch_up()
    assert len(episodes(store)) == 4
    assert transcripts.waiting(core.ledger.db) is None


async def test_an_upload_whose_answer_was_lost_is_repeated_with_the_same_bytes(
    core: Components, store: BrokenStore, tmp_path: Path
) -> None:
    play(core)
    fix_batch(core)
    store.cut = True
    await core.folder.catch_up()
    before = store.get(file_of(1))
    store.cut = False
    core.ledger.withdraw()  # as after a kill: another coordinator opens the same ledger
    again = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock(), store)
    await again.folder.catch_up()
    assert store.get(file_of(1)) == before
    assert transcripts.waiting(again.ledger.db) is None


async def test_a_step_that_is_trained_again_is_in_the_metrics_once(
    core: Components, store: BrokenStore
) -> None:
    """Attempt 1 reports three steps, attempt 2 goes on from the checkpoint of step 1."""
    for step in (1, 2, 3):
        report(core, step, loss=1.0)
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    report(core, 2, attempt=2, loss=2.0)
    await core.folder.catch_up()
    assert [(row["step"], row["attempt"]) for row in metrics(store)] == [(1, 1), (2, 2)]
    report(core, 3, attempt=2, loss=2.0)
    await core.folder.flush()
    assert [(row["step"], row["attempt"]) for row in metrics(store)] == [(1, 1), (2, 2), (3, 2)]


@pytest.mark.parametrize(("share", "saved"), [(1.0, 4), (0.5, 2), (0.01, 2), (0.0, 0)])
async def test_a_stage_saves_the_share_of_groups_that_it_asks_for(
    tmp_path: Path, store: BrokenStore, share: float, saved: int
) -> None:
    core = coordinator(tmp_path, kit.spec(savedRollouts=share), store)
    play(core)
    fix_batch(core)
    await core.folder.catch_up()
    assert (len(episodes(store)) if saved else 0) == saved
    assert bool(saved) == (file_of(1) in store.objects)


@pytest.mark.parametrize(
    ("count", "share", "kept"),
    [
        (16, 1.0, set(range(16))),
        (16, 0.25, {0, 4, 8, 12}),
        (3, 0.5, {0, 1}),
        (1, 0.001, {0}),
        (4, 0.0, set()),
    ],
)
def test_groups_that_a_share_keeps(count: int, share: float, kept: set[int]) -> None:
    assert transcripts.sampled(count, share) == kept


async def test_a_row_that_is_twice_in_a_batch_has_trials_that_count_on(
    tmp_path: Path, store: BrokenStore
) -> None:
    core = coordinator(tmp_path, kit.spec(promptsPerStep=4, maxConcurrentGroups=8), store)
    core.preconditions._data = CheckedData({kit.FILE: kit.task_rows(1)})
    play(core)
    fix_batch(core)
    await core.folder.catch_up()
    assert [row["trial"] for row in episodes(store)] == list(range(8))


async def test_the_record_says_what_made_the_run(core: Components, store: BrokenStore) -> None:
    mine = Software(image="registry/trainer@sha256:aa", packages={"torch": "2.13.0"})
    core.folder.note_spec()
    core.heartbeats.heard(kit.beat("job-trainer-0", "trainer", "a", software=mine))
    core.heartbeats.heard(kit.beat("job-trainer-1", "trainer", "b", software=mine))
    await core.folder.catch_up()
    found = record(store)
    assert (found.job, found.namespace, found.uid) == ("job", "ns", kit.UID)
    assert [one.attempt for one in found.attempts] == [1]
    (spec,) = found.specs
    assert spec.spec["stages"][0]["rl"]["steps"] == 3
    by_role = {one.role: one for one in found.software}
    assert by_role["trainer"].image == "registry/trainer@sha256:aa"
    assert by_role["trainer"].packages == {"torch": "2.13.0"}
    assert "sea-operator" in by_role["coordinator"].packages
    assert len(found.software) == 2


async def test_the_record_keeps_the_digests_that_really_ran(
    core: Components, store: BrokenStore
) -> None:
    first, second = (f"registry/trainer@sha256:{digit * 64}" for digit in "ab")
    for image in (first, first, second):
        wanted = kit.desired(kit.spec(), attempt=2)
        core.job.adopt(wanted.model_copy(update={"images": {"trainer": image}}))
        await core.folder.catch_up()
    assert [(one.role, one.image) for one in record(store).images] == [
        ("trainer", first),
        ("trainer", second),
    ]


async def test_the_record_shows_no_secret_of_a_pods_variables(
    tmp_path: Path, store: BrokenStore
) -> None:
    """Not even one that an older operator has sent."""
    variables = [{"name": "HF_TOKEN", "value": "very-secret"}, {"name": "A", "value": "shown"}]
    spec = kit.spec().model_dump(mode="json", by_alias=True)
    spec["rollout"]["template"]["env"] = variables
    await coordinator(tmp_path, Spec.model_validate(spec), store).folder.catch_up()
    text = store.objects[f"{RUN}/run.json"].decode()
    assert ("very-secret" in text, "HF_TOKEN" in text, "shown" in text) == (False, True, True)


async def test_the_record_keeps_every_spec_and_attempt_also_on_a_new_volume(
    core: Components, store: BrokenStore, tmp_path: Path
) -> None:
    core.folder.note_spec()
    await core.folder.catch_up()
    core.job.adopt(kit.desired(kit.spec(), attempt=2))
    core.job.adopt(kit.desired(kit.spec(maxStaleness=4), attempt=3))
    await core.folder.catch_up()
    (tmp_path / "new").mkdir()
    again = kit.coordinator(
        tmp_path / "new", kit.desired(kit.spec(maxStaleness=4), attempt=4), kit.Clock(), store
    )
    await again.folder.catch_up()
    found = record(store)
    assert [one.attempt for one in found.attempts] == [1, 2, 3, 4]
    assert [one.spec["stages"][0]["rl"]["maxStaleness"] for one in found.specs] == [1, 4]


async def test_state_and_record_say_where_the_newest_model_is(
    core: Components, store: BrokenStore
) -> None:
    assert core.state.assemble().model_url is None
    stages.complete(core.ledger.db, "rl", 1000.0)
    await core.folder.catch_up()
    url = f"{RUN}/stages/rl/export/"
    assert core.state.assemble().model_url == url
    assert record(store).model_url == url


async def test_the_last_lines_are_there_before_a_stage_is_complete(
    core: Components, store: BrokenStore
) -> None:
    report(core, 1)
    stage = kit.some(core.job.stage)
    store.away = True
    with pytest.raises(StoreUnavailableError):
        await core.controller._reports.write(stage)
    store.away = False
    await core.controller._reports.write(stage)
    assert [row["step"] for row in metrics(store)] == [1]


async def test_the_loop_goes_on_while_the_store_is_away(
    core: Components, store: BrokenStore
) -> None:
    store.away = True
    report(core, 1)
    await core.folder.look()
    assert METRICS not in store.objects
