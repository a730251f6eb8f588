"""`make bench-recovery`: how long a job stands still after a failure of each kind, and goodput.

One RL job with an elastic trainer of two pods on a devcluster of two nodes; its parts are killed
one after the other, RUNS times each (CASES=a,b for some of them). A case ends with the first
optimizer step of a newer number than the newest before it. Its items, seconds after the fault:

    noticed    the status names another failure, size or attempt
    restarted  all trainer pods of the attempt are ready: their processes have joined
    step       the first new step is reported

The operator looks at a job once per second, so items are known within a second. Prints a row per
case, the timeline of sizes, steps and rewards, and one JSON object as its last line.

With GOODPUT=30 it is `goodput.py` instead: 30 minutes with a failure every two minutes. With
TIMELINE=1 it is `timeline.py`: a job whose node comes and goes, as a table.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import plan_scaling
import psutil
import yaml

from sea_api.v1alpha1.job import Spec
from sea_devcluster.cluster import DevCluster, Options
from sea_devcluster.demo import job as demo_job
from sea_devcluster.demo import object_store
from sea_devcluster.demo import run as demo_run
from sea_devcluster.demo.kubectl import Kubectl, job_reader
from sea_devcluster.demo.options import ROOT
from sea_devcluster.demo.target import devcluster_target
from sea_runtime.planner import job_plan, simulation
from sea_runtime.planner.simulated_pipeline import Failures

NAME, NAMESPACE = "recovery", "sea-demo"
DATA = ["shop", "--seed", "0", "--dialogues", "200", "--train-tasks", "64", "--test-tasks", "16"]
CASE_SECONDS = 900.0
"""After which a case counts as failed."""
POLL_SECONDS = 0.2
SIMULATED_STEPS = 120
APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "labelSelector": {"matchLabels": {"sea-operator.io/role": "trainer"}},
                "topologyKey": "kubernetes.io/hostname",
            }
        ]
    }
}


RL = {
    "name": "rl",
    "type": "RL",
    "rl": {
        "steps": 100000,
        "promptsPerStep": 4,
        "trajectoriesPerPrompt": 4,
        "learningRate": 0.0001,
        "maxTokensPerTurn": 16,
        "maxTurns": 3,
        "filterConstantGroups": False,
    },
}


def manifest(server: Any, name: str, *stages: dict[str, Any]) -> dict[str, Any]:
    """examples/tiny.yaml with these stages, a scripted user, and an elastic trainer whose pods are
    on different nodes."""
    job = demo_job.load(ROOT / "examples" / "tiny.yaml", server)
    job = json.loads(json.dumps(job).replace("s3://sea/tiny", f"s3://sea/{name}"))
    job["metadata"] |= {"name": name, "namespace": NAMESPACE}
    spec = job["spec"]
    spec["stages"] = list(stages)
    spec["userModel"] = {"engine": "Scripted"}
    spec["checkpoint"] |= {"everySteps": 1}
    spec["failurePolicy"] = {"budget": {"restarts": 1000}}
    spec["trainer"] |= {
        "replicas": 2,
        "parallelism": {},
        "elastic": {
            "minReplicas": 1,
            "maxReplicas": 2,
            # A pod that is only replaced is there again within this time.
            "giveUpSeconds": 20,
            "retrySeconds": 10,
            "stableSeconds": 2,
        },
        "template": {"patch": {"spec": {"affinity": APART}}},
    }
    return dict(job)


@dataclass(frozen=True)
class Seen:
    """What matters of one status."""

    time: float
    step: int = 0
    attempt: int = 0
    size: int = 0
    ready: int = 0
    reward: float | None = None
    failure: str = ""

    @staticmethod
    def of(job: dict[str, Any], now: float) -> "Seen":
        status = job.get("status", {})
        trainer = status.get("roles", {}).get("trainer", {})
        return Seen(
            now,
            int(status.get("step") or 0),
            int(status.get("trainerAttempt") or 0),
            int(trainer.get("desired") or 0),
            int(trainer.get("ready") or 0),
            status.get("reward"),
            json.dumps(status.get("lastFailure")),
        )


@dataclass
class Case:
    """One kind of failure."""

    name: str
    strike: Callable[[], None]
    restarts: bool = True
    """Whether the trainer begins another attempt."""
    size: int | None = None
    """Trainer pods that the first new step must be trained with."""
    found: list[dict[str, float]] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        names = sorted({name for one in self.found for name in one})
        return {
            name: round(median(one[name] for one in self.found if name in one), 1) for name in names
        }


class Bench:
    """The job, and what is done to it."""

    def __init__(
        self, cluster: DevCluster, folder: Path, name: str, *stages: dict[str, Any]
    ) -> None:
        self.cluster, self.name = cluster, name
        self.target = devcluster_target(cluster)
        self.kubectl = Kubectl(self.target.kubectl, self.target.kubeconfig)
        self.timeline: list[Seen] = []
        demo_run.install(self.kubectl, self.target)
        demo_job.generate(DATA, folder)
        job = manifest(self.target.server, name, *stages)
        object_store.upload(folder, job, self.target.server)
        demo_run.submit(self.kubectl, job, self.target)
        self.read = job_reader(self.target.kubeconfig, NAMESPACE, name)

    def look(self) -> Seen:
        seen = Seen.of(self.read(), time.monotonic())
        last = self.timeline[-1] if self.timeline else None
        if last is None or (last.size, last.step, last.attempt) != (
            seen.size,
            seen.step,
            seen.attempt,
        ):
            self.timeline.append(seen)
        return seen

    def until(self, what: str, holds: Callable[[Seen], bool]) -> Seen:
        """Raises TimeoutError."""
        deadline = time.monotonic() + CASE_SECONDS
        while time.monotonic() < deadline:
            seen = self.look()
            if holds(seen):
                return seen
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"{what} within {CASE_SECONDS:.0f} s: the last status is {seen}")

    def measure(self, case: Case) -> None:
        """Two steps first: what came before must not be measured."""
        calm = self.look()
        self.until("two calm steps", lambda now: now.step >= calm.step + 2)
        before = self.look()
        began = time.monotonic()
        case.strike()
        found: dict[str, float] = {}
        first: dict[str, int] = {}

        def step(now: Seen) -> bool:
            passed = now.time - began
            moved = (now.attempt, now.size, now.failure) != (
                before.attempt,
                before.size,
                before.failure,
            )
            again = now.attempt > before.attempt and (case.size is None or now.size == case.size)
            if moved:
                found.setdefault("noticed", passed)
            if again:
                # Steps of the attempt before may be reported until its end.
                first.setdefault("step", now.step)
                if now.ready < now.size:
                    first["down"] = 1
                elif "down" in first:
                    found.setdefault("restarted", passed)
            least = first["step"] if case.restarts and again else before.step
            return now.step > least and (again or not case.restarts)

        ended = self.until(f"a step after {case.name}", step)
        found["step"] = ended.time - began
        case.found.append(found)
        print(f"{case.name:>24}  " + "  ".join(f"{k} {v:.1f} s" for k, v in found.items()))
        sys.stdout.flush()

    # What is done to it.

    def kill(self, program: str) -> None:
        """SIGKILL to a process of the job's pods."""
        endpoint = self.target.server.endpoint
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
                inside = program in command and "bwrap" not in command
                mine = inside and process.environ().get("AWS_ENDPOINT_URL") == endpoint
                if mine and process.environ().get("SEA_JOB") == self.name:
                    process.kill()
                    return
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        raise RuntimeError(f"no process of the job runs {program}")

    def kill_operator(self) -> None:
        agents = [node.daemon.process for node in self.cluster.nodes]
        below = [
            child
            for agent in agents
            if agent is not None
            for child in psutil.Process(agent.pid).children(recursive=True)
        ]
        next(p for p in below if p.cmdline()[1:3] == ["-m", "sea_operator"]).kill()

    def delete_pod(self, pod: str, *more: str) -> None:
        self.kubectl.run("delete", "pod", "-n", NAMESPACE, pod, "--wait=false", *more)

    def lose_node(self) -> None:
        """No pod can be placed on the node of the second trainer pod any more."""
        self.kubectl.run("cordon", self._node())
        self.delete_pod(f"{self.name}-trainer-1", "--force", "--grace-period=0")

    def return_node(self) -> None:
        for node in self.cluster.nodes:
            self.kubectl.run("uncordon", node.name)

    def _node(self) -> str:
        pod = self.kubectl.get("pod", "-n", NAMESPACE, f"{self.name}-trainer-1")
        return str(pod["spec"]["nodeName"])

    def cases(self) -> list[Case]:
        engine, coordinator = "sea_runtime.rollout.server", "sea_runtime.coordinator"
        return [
            Case("trainer process", lambda: self.kill("sea_runtime.trainer.process")),
            Case("trainer pod", lambda: self.delete_pod(f"{self.name}-trainer-1")),
            Case("node gone", self.lose_node, size=1),
            Case("node back", self.return_node, size=2),
            Case("rollout engine", lambda: self.kill(engine), restarts=False),
            Case("coordinator process", lambda: self.kill(coordinator), restarts=False),
            Case(
                "coordinator pod, ledger",
                lambda: self.delete_pod(
                    f"{self.name}-coordinator-0", "--force", "--grace-period=0"
                ),
                restarts=False,
            ),
            Case("operator", self.kill_operator, restarts=False),
        ]


def simulated() -> dict[str, float]:
    """Goodput of the reference job on 80 GPUs, by hours between two failures of the trainer and of
    each engine: its step without failures over its step with them."""
    file = ROOT / "examples" / "areal-sea-235b.yaml"
    spec = Spec.model_validate(yaml.safe_load(file.read_text())["spec"])
    plan = job_plan.plan(spec, plan_scaling.known(spec))
    rl = next(stage.rl for stage in spec.stages if stage.rl)
    pipeline = plan_scaling.modes(plan, rl)["asynchronous, staleness 2"]
    calm = simulation.simulate(pipeline, SIMULATED_STEPS).step_seconds
    found = {}
    for hours in (24, 4, 1):
        seconds = 3600.0 * hours
        often = Failures(engine_every_s=seconds, trainer_every_s=seconds)
        failing = replace(pipeline, failures=often)
        found[str(hours)] = round(
            calm / simulation.simulate(failing, SIMULATED_STEPS).step_seconds, 3
        )
    return found


def report(bench: Bench, cases: list[Case]) -> dict[str, Any]:
    status = bench.read()["status"]
    start = bench.timeline[0].time
    print(f"\n{'seconds':>8}  {'attempt':>7}  {'size':>4}  {'step':>5}  reward")
    for seen in bench.timeline:
        reward = "" if seen.reward is None else f"{seen.reward:.2f}"
        row = f"{seen.time - start:>8.0f}  {seen.attempt:>7}  {seen.size:>4}  {seen.step:>5}"
        print(f"{row}  {reward}")
    return {
        "cases": {case.name: case.row() for case in cases if case.found},
        "runs": max(len(case.found) for case in cases),
        "goodput": status.get("goodput"),
        "steps": status.get("step"),
        "simulated_80_gpus": simulated(),
        "load": [round(one, 1) for one in os.getloadavg()],
    }


def main() -> int:
    if os.environ.get("GOODPUT"):
        import goodput  # which imports this file

        return goodput.main()
    if os.environ.get("TIMELINE"):
        import timeline

        return timeline.main()
    runs = int(os.environ.get("RUNS") or 1)
    chosen = [name.strip() for name in (os.environ.get("CASES") or "").split(",") if name.strip()]
    cluster = DevCluster(f"recovery-{os.getpid()}", options=Options(nodes=2), persistent=False)
    cluster.up()
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(cluster, Path(folder), NAME, RL)
            bench.until("the first two steps", lambda now: now.step >= 2)
            cases = [one for one in bench.cases() if not chosen or one.name in chosen]
            for _ in range(runs):
                for case in cases:
                    bench.measure(case)
            result = report(bench, cases)
    finally:
        cluster.down()
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
