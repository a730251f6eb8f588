"""A Synthesis stage on a real S3 server: what is made, who reads it, what a kill costs."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sea_data.synthesis import source_database
from sea_env.domains import registry
from sea_env.domains.database_generator import Size
from sea_runtime.coordinator import stage_plan
from sea_testing.coordinator.crew import crew, everybody
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.pace import Pace
from sea_testing.played import PLANS, TELECOM, PlayedModel
from sea_testing.team import served_aside
from sea_testing.waiting import wait_for

pytestmark = pytest.mark.component

COUNT = 300
PIECE = 350
"""Tasks whose journal is more than the piece that is sent to the store at once."""


def program(count: int = COUNT) -> list[dict[str, Any]]:
    rl = {
        "steps": 2,
        "promptsPerStep": 3,
        "trajectoriesPerPrompt": 4,
        "maxConcurrentGroups": 6,
        "maxStaleness": 1,
    }
    synthesis = {"tasksPerDomain": count, "worldSize": "Small", "rounds": 2}
    return [
        {"name": "make", "type": "Synthesis", "synthesis": synthesis},
        {"name": "user-sft", "type": "UserSFT", "userSFT": {"batchSize": 4}},
        {"name": "sft", "type": "SFT", "sft": {"batchSize": 4}},
        {"name": "rl", "type": "RL", "rl": rl},
        {"name": "eval", "type": "Evaluation", "evaluation": {"trials": 1, "maxTasks": 5}},
    ]


def rows(job: Job, domain: str, name: str) -> list[dict[str, Any]]:
    url = f"{stage_plan.made_folder(job.run_url, 'make', domain)}/{name}"
    return [json.loads(line) for line in job.store.get(url).splitlines()]


def test_later_stages_learn_from_what_was_made(job: Job) -> None:
    """A job without a single file of its own: shop and retail, through all five stages."""
    spec = job.spec(program(20), data={}, domains=["shop", "retail"])
    job.start()
    trainer, second, *workers, user = everybody(job)
    with crew(job, spec, trainer, second, *workers, user) as operator:
        operator.finishes()
    state = job.state()
    assert [stage.phase for stage in state.stages] == ["Complete"] * 5
    assert (state.stages[0].step, state.stages[0].total_steps) == (40, 40)
    leases = [lease for worker in workers for lease in worker.leases]
    ids = {row["id"] for domain in ("shop", "retail") for row in rows(job, domain, "rl.jsonl")}
    assert len(ids) == 40
    assert {lease.task["id"] for lease in leases} <= ids
    for lease in leases:
        assert lease.database is not None
        assert lease.database.startswith(f"{job.run_url}/stages/make/data/")
        assert job.store.exists(lease.database)
    prompt = job.store.get(
        f"{job.run_url}/stages/make/data/retail/databases/retail/000/retail_policy.md"
    )
    assert prompt


def test_the_trainers_spec_names_the_files_that_were_made(job: Job) -> None:
    spec = job.spec(program(), data={"sft": ["s3://runs/own.jsonl"]})
    desired = job.desired(spec, stage=2)
    told = stage_plan.for_trainer(desired, 2).data.sft
    assert told == ["s3://runs/own.jsonl", f"{job.run_url}/stages/make/data/shop/sft.jsonl"]
    assert stage_plan.for_trainer(desired, 0).data.sft == ["s3://runs/own.jsonl"]


def test_a_killed_coordinator_goes_on_where_it_was(job: Job, pace: Pace) -> None:
    """Three kills while data are made: every row is there, none twice, progress never goes back."""
    spec = job.spec(program(3 * COUNT), data={})
    journal = job.data_dir / "synthesis" / "make" / "made" / "shop" / ".journal"
    size = 0
    pace.hold_after(COUNT - 1)
    for _ in range(3):
        job.start()
        job.put_spec(job.desired(spec))
        wanted = size + 100_000
        wait_for("the journal to grow", partial(is_larger, journal, wanted))
        job.kill()
        size = journal.stat().st_size
    pace.go()
    job.start()
    wait_for("the stage's end", lambda: job.phase() == "Complete")
    made = rows(job, "shop", "rl.jsonl")
    assert len({row["id"] for row in made}) == len(made) == 3 * COUNT
    assert job.step() == 3 * COUNT
    assert len(rows(job, "shop", "sft.jsonl")) == 3 * COUNT


def archived(job: Job, domain: str = "shop") -> int:
    """Bytes of the domain's journal that the store holds."""
    heads = [
        item.url
        for item in job.store.list(f"{job.run_url}/stages/make/journal/{domain}/")
        if item.url.endswith("/head.json")
    ]
    return sum(part["size"] for url in heads for part in json.loads(job.store.get(url))["parts"])


def is_larger(file: Path, size: int) -> bool:
    return file.exists() and file.stat().st_size > size


def has_more(job: Job, known: int) -> bool:
    return archived(job) > known


def make(job: Job, spec: Any) -> None:
    job.start()
    job.put_spec(job.desired(spec))
    wait_for("the stage's end", lambda: job.phase() == "Complete")


def test_an_emptied_volume_in_mid_synthesis_costs_no_row(
    job: Job, second_job: Job, pace: Pace
) -> None:
    """kill -9, the folder deleted, twice: in the end the bytes of an undisturbed run."""
    stages = program(3 * COUNT)
    make(second_job, second_job.spec(stages, data={}))
    spec, known = job.spec(stages, data={}), 0
    pace.hold_after(PIECE)
    for _ in range(2):
        job.start()
        job.put_spec(job.desired(spec))
        wait_for("more of the journal in S3", partial(has_more, job, known))
        assert job.phase() != "Complete"
        job.kill()
        known = archived(job)
        job.wipe()
    pace.go()
    make(job, spec)
    assert "is restored from the store" in job.log.read_text()
    assert job.step() == 3 * COUNT
    for name in ("rl.jsonl", "sft.jsonl"):
        made, wanted = (
            one.store.get(f"{stage_plan.made_folder(one.run_url, 'make', 'shop')}/{name}")
            for one in (job, second_job)
        )
        assert made == wanted
    assert len({row["id"] for row in rows(job, "shop", "rl.jsonl")}) == 3 * COUNT


def test_a_folder_that_vanishes_under_the_process_is_made_again(
    job: Job, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The volume's folder is removed while the process writes to it, and nobody is killed."""
    monkeypatch.setenv("SEA_SYNTHESIS_RETRY_S", "0.1")
    spec = job.spec(program(3 * COUNT), data={})
    pace.hold_after(PIECE)
    job.start()
    job.put_spec(job.desired(spec))
    wait_for("a part in S3", lambda: archived(job) > 0)
    shutil.rmtree(job.data_dir / "synthesis")
    pace.go()
    wait_for("the stage's end", lambda: job.phase() == "Complete")
    made = rows(job, "shop", "rl.jsonl")
    assert len({row["id"] for row in made}) == len(made) == 3 * COUNT


def test_an_edited_stage_is_made_again(job: Job, pace: Pace) -> None:
    """In the middle of the work the job asks for another seed and fewer tasks: it gets those."""
    pace.hold_after(PIECE)
    job.start()
    job.put_spec(job.desired(job.spec(program(3 * COUNT), data={})))
    wait_for("a part in S3", lambda: archived(job) > 0)
    stages = program(40)
    stages[0]["synthesis"]["seed"] = 9
    job.put_spec(job.desired(job.spec(stages, data={})))
    wait_for("the stage's end", lambda: job.phase() == "Complete")
    made = rows(job, "shop", "rl.jsonl")
    assert len(made) == 40
    assert {row["provenance"]["seed"] for row in made} == {9}


def test_what_is_done_is_not_made_again_on_an_empty_volume(job: Job) -> None:
    spec = job.spec(program(30), data={})
    job.start()
    job.put_spec(job.desired(spec))
    wait_for("the stage's end", lambda: job.phase() == "Complete")
    url = f"{job.run_url}/stages/make/data/shop/rl.jsonl"
    tag = job.store.get_with_etag(url)[1]
    job.store.put(f"{job.run_url}/marker", b"")
    job.kill()
    job.wipe()
    job.start()
    job.put_spec(job.desired(spec))
    wait_for("the stage's end", lambda: job.phase() == "Complete")
    assert not (job.data_dir / "synthesis").exists()
    assert job.store.get_with_etag(url)[1] == tag


def test_exhausted_plans_are_reported_and_not_tried_again(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One plan can't make thousands of different tasks; an edit of the stage starts again."""
    monkeypatch.setenv("SEA_SYNTHESIS_RETRY_S", "0.1")
    stages = program(250)
    stages[0]["synthesis"] |= {"plans": 1, "worlds": 1, "rounds": 1}
    job.start()
    job.put_spec(job.desired(job.spec(stages, data={}, domains=["mock"])))
    problem = wait_for("a problem", lambda: job.state().problem)
    assert problem.reason == "SynthesisFailed"
    assert "of the 250 tasks asked for" in problem.message
    assert "The task repeats an earlier one." in problem.message
    assert "Ask for fewer tasks, or for more plans, rounds or worlds." in problem.message
    assert "not tried again until the stage is edited" in problem.message
    # Another attempt of the same stage is no edit of it.
    job.put_spec(job.desired(job.spec(stages, data={}, domains=["mock"]), attempt=2))
    wait_for("the new attempt", lambda: job.state().attempt == 2)
    stages[0]["synthesis"] |= {"tasksPerDomain": 10, "plans": 12}
    job.put_spec(job.desired(job.spec(stages, data={}, domains=["mock"]), attempt=3))
    wait_for("the stage's end", lambda: job.phase() == "Complete")
    wait_for("the problem to end", lambda: job.state().problem is None)
    log = job.log.read_text()
    assert log.count("can't make its data") == 1
    assert log.count("'make' makes") == 2


def test_an_endpoint_that_is_down_is_reported(job: Job) -> None:
    stages = program(5)
    stages[0]["synthesis"]["endpoint"] = {"url": "http://127.0.0.1:9", "model": "none"}
    job.start()
    job.put_spec(job.desired(job.spec(stages, data={})))
    problem = wait_for("a problem", lambda: job.state().problem)
    assert problem.reason == "SynthesisFailed"
    assert "http://127.0.0.1:9" in problem.message


def test_a_models_agents_make_the_data_of_a_stage(job: Job) -> None:
    """Telecom by a played model, through process, sandbox and store; then an empty volume."""
    world = source_database.generate(registry.get("telecom"), 1, Size.SMALL, 0)[0]
    model = PlayedModel(world, TELECOM, PLANS)
    stages = program(6)
    stages[0]["synthesis"] |= {"worlds": 1, "plans": 3}
    with served_aside(model.handle) as url:
        stages[0]["synthesis"]["endpoint"] = {"url": url, "model": "played", "concurrency": 3}
        spec = job.spec(stages, data={}, domains=["telecom"])
        job.start()
        job.put_spec(job.desired(spec))
        # A row made by a model is dear: once in the store it must come back.
        wait_for("a journal in S3", lambda: archived(job, "telecom") > 0)
        job.kill()
        kept = archived(job, "telecom")
        job.wipe()
        make(job, spec)
    assert archived(job, "telecom") >= kept
    made = rows(job, "telecom", "rl.jsonl")
    assert len({row["id"] for row in made}) == len(made) == 6
    for row in made:
        assert row["verification_function"].startswith("def verify(episode):")
        assert row["provenance"]["model"] == "played"
        assert row["db_path"] == "databases/telecom/db.json"
    assert job.store.exists(
        f"{stage_plan.made_folder(job.run_url, 'make', 'telecom')}/databases/telecom/db.json"
    )
    assert model.users_calls > 0
    report = json.loads(job.store.get(f"{job.run_url}/stages/make/data/DONE.json"))["telecom"]
    assert report["tokens"] > 0
    assert [plan["plan"] for plan in report["plans"]][:3] == ["p001", "p002", "p003"]
