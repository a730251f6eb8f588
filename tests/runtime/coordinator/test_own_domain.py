"""A job in a domain of another Python package: all its stages, and what is said without it.

The coordinator and its synthesis are processes with the package on their path; one worker plays
the package's episodes with the product's own runner, databases from S3 and a scripted user.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sea_data.tiny_model import tokenizer
from sea_env.tokens.renderer import Renderer
from sea_env.verify.sandbox.pool import Sandboxes
from sea_runtime.coordinator import synthesis
from sea_runtime.rollout.databases import Databases
from sea_runtime.rollout.episode_runner import EpisodeRunner
from sea_runtime.rollout.generation import Generation
from sea_runtime.rollout.scoring import Scoring
from sea_runtime.rollout.settings import Identity
from sea_runtime.rollout.simulated_users import SimulatedUsers
from sea_runtime.wire.rollouts import EpisodeKind, EpisodeResult, Lease
from sea_testing import fake_tau2, own_domain
from sea_testing.coordinator import engines
from sea_testing.coordinator.crew import crew
from sea_testing.coordinator.job import Job
from sea_testing.coordinator.pod import Supervisor
from sea_testing.coordinator.trainer import Trainer
from sea_testing.waiting import wait_for

pytestmark = pytest.mark.component

RENDERER = Renderer(tokenizer.train(["user\n", "assistant\n"] * 3, 300))
MODEL = {"name": "tiny", "source": "builtin:tiny", "contextLength": 8192}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder on the path of this process and of all that it starts."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(folder)
    own_domain.forget()
    fake_tau2.forget()
    yield folder
    monkeypatch.undo()
    own_domain.forget()
    fake_tau2.forget()


class Librarian:
    """Makes the calls that the task expects, or none where `solves` is false."""

    def __init__(self, task: dict[str, Any], *, solves: bool) -> None:
        actions = task["evaluation_criteria"]["actions"] if solves else []
        calls = [{"name": one["name"], "arguments": one["arguments"]} for one in actions]
        self._turns: list[dict[str, Any]] = [
            {"content": "What is your card number?"},
            *({"content": "", "tool_calls": [call]} for call in calls),
            {"content": "Done. Goodbye."},
        ]

    async def generate(self, prompt: Sequence[int], **_: Any) -> Generation:
        ids = RENDERER.agent_turn({"role": "assistant", **self._turns.pop(0)})
        return Generation(ids, [-0.5] * len(ids), [0] * len(ids), "stop")


class Worker(engines.Worker):
    """Really plays the episodes of packages' domains; half of those that train fail."""

    def __init__(self, job: Job, name: str, seed: int) -> None:
        super().__init__(job, name, seed)
        self.results: list[EpisodeResult] = []
        self.loop = asyncio.new_event_loop()
        self.sandboxes = Sandboxes()

    def run(self) -> None:
        super().run()
        self.loop.run_until_complete(self.sandboxes.close())
        self.loop.close()

    def finish(self, lease: Lease) -> bool:
        if lease.domain == "shop":
            return bool(super().finish(lease))
        result = self.loop.run_until_complete(self.play(lease))
        self.results.append(result)
        return bool(self.client.result(result))

    async def play(self, lease: Lease) -> EpisodeResult:
        solves = lease.kind == EpisodeKind.EVAL or lease.sample % 2 == 0
        async with aiohttp.ClientSession() as http:
            runner = EpisodeRunner(
                Identity(self.pod, self.incarnation),
                Librarian(lease.task, solves=solves),  # type: ignore[arg-type]
                RENDERER,
                SimulatedUsers(http, None, RENDERER, 8192),  # type: ignore[arg-type]
                Databases(self.job.store),
                Scoring(http, self.sandboxes),
            )
            return await runner.run(lease)


def program(count: int = 12) -> list[dict[str, Any]]:
    rl = {"steps": 2, "promptsPerStep": 2, "trajectoriesPerPrompt": 4, "maxConcurrentGroups": 4}
    synthesis = {"tasksPerDomain": count, "worldSize": "Small", "worlds": 2}
    return [
        {"name": "make", "type": "Synthesis", "synthesis": synthesis},
        {"name": "sft", "type": "SFT", "sft": {"batchSize": 4}},
        {"name": "rl", "type": "RL", "rl": rl},
        {"name": "eval", "type": "Evaluation", "evaluation": {"trials": 2}},
    ]


def spec(job: Job, *domains: str) -> Any:
    user = {"engine": "Scripted"}
    return job.spec(program(), data={}, domains=["shop", *domains], model=MODEL, userModel=user)


def test_a_job_runs_through_all_its_stages(job: Job, packages: Path) -> None:
    own_domain.write(packages)
    job.start()
    workers = [Worker(job, f"job-rollout-{i}", i) for i in range(2)]
    pods = [Trainer(job), Supervisor(job, "job-trainer-1"), *workers]
    with crew(job, spec(job, own_domain.NAME), *pods) as operator:
        operator.finishes()
    results = [result for worker in workers for result in worker.results]
    assert {result.error for result in results} == {""}
    assert {result.reward for result in results} == {0.0, 1.0}
    scores = {one.domain: one for one in job.state().evaluation}
    assert set(scores) == {"shop", own_domain.NAME, "average"}
    assert scores[own_domain.NAME].pass_hat1 == 100.0
    assert scores[own_domain.NAME].tasks == 12
    keys = [item.url.removeprefix(job.root) for item in job.store.list(job.root)]
    assert not [key for key in keys if ":" in key]
    assert f"{job.run_url.removeprefix(job.root)}/stages/make/data/my-library.library/rl.jsonl" in (
        keys
    )
    assert not [path for path in job.data_dir.rglob("*") if ":" in path.name]
    page = job.store.get(f"{job.run_url}/evaluation/eval.html").decode()
    assert own_domain.NAME in page


def test_tau2s_own_domain_is_evaluated(job: Job, packages: Path) -> None:
    """Rows of the bare name, on a database in the store; tau2's tools run in its environment."""
    fake_tau2.write(packages)
    row = {
        "id": "lamps_1",
        "user_scenario": {"instructions": {"reason_for_call": "Switch on the hall's lamp."}},
        "evaluation_criteria": json.dumps({"actions": [fake_tau2.ON], "reward_basis": ["DB"]}),
        "db_path": "lamps/db.json",
    }
    job.put_rows("lamps.jsonl", [row])
    job.store.put(f"{job.root}/databases/lamps/db.json", b'{"lamps": {"hall": false}}')
    stages = [{"name": "eval", "type": "Evaluation", "evaluation": {"trials": 2}}]
    data = {"rl": [f"{job.root}/lamps.jsonl"], "databases": f"{job.root}/databases"}
    spec = job.spec(
        stages, data=data, domains=["tau2:lamps"], model=MODEL, userModel={"engine": "Scripted"}
    )
    job.start()
    worker = Worker(job, "job-rollout-0", 0)
    with crew(job, spec, worker) as operator:
        operator.finishes()
    assert {(result.error, result.reward) for result in worker.results} == {("", 1.0)}
    scores = [(one.domain, one.pass_hat1, one.episodes) for one in job.state().evaluation]
    assert scores == [("tau2:lamps", 100.0, 2), ("average", 100.0, 2)]


@pytest.mark.parametrize(
    ("installed", "name", "reason", "sentence"),
    [
        ("no", own_domain.NAME, "UnknownDomain", "needs the Python package my-library, which is"),
        ("yes", "my-library:libary", "UnknownDomain", "brings no domain 'libary': its entry"),
        ("no", "tau2:retail", "UnknownDomain", "tau2:retail needs tau2-bench"),
        ("without a worker", own_domain.NAME, "NoWorker", "nobody makes tasks of the domain my-"),
    ],
)
def test_what_the_images_lack_stalls_the_job_until_it_is_edited(
    job: Job, packages: Path, installed: str, name: str, reason: str, sentence: str
) -> None:
    if installed != "no":
        own_domain.write(packages)
    if installed == "without a worker":
        (packages / "my_library" / "task_generator.py").unlink()
    job.start()
    job.put_spec(job.desired(spec(job, name)))
    problem = wait_for("a problem", lambda: job.state().problem)
    assert problem.reason == reason
    assert sentence in problem.message
    if reason == "UnknownDomain":
        assert "spec.rollout.template.image" in problem.message
    job.put_spec(job.desired(spec(job)))
    wait_for("the problem to end", lambda: job.state().problem is None)
    wait_for("the first stage's end", lambda: job.phase() == "Complete")
    assert b"Traceback" not in job.log.read_bytes()


def test_a_package_that_is_installed_later_is_found_by_the_running_coordinator(
    job: Job, packages: Path
) -> None:
    job.start()
    job.put_spec(job.desired(spec(job, own_domain.NAME)))
    problem = wait_for("a problem", lambda: job.state().problem)
    assert problem.reason == "UnknownDomain"
    own_domain.write(packages)
    wait_for("the first stage's end", lambda: job.phase() == "Complete")
    wait_for("the problem to end", lambda: job.state().problem is None)


def test_given_databases_are_found_by_the_full_or_the_bare_name(job: Job) -> None:
    given = f"{job.root}/given"
    assert synthesis._given(job.store, given, own_domain.NAME) is None
    job.store.put(f"{given}/library/db.json", b"{}")
    job.store.put(f"{given}/retail/db.json", b"{}")
    assert synthesis._given(job.store, given, own_domain.NAME) == f"{given}/library/"
    assert synthesis._given(job.store, given, "tau2:retail") == f"{given}/retail/"
    job.store.put(f"{given}/my-library.library/db.json", b"{}")
    assert synthesis._given(job.store, given, own_domain.NAME) == f"{given}/my-library.library/"
