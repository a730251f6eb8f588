"""Builders of what the policies read: a small valid job, and one thing changed at a time."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from sea_api.contract import HASH_LABEL, MADE_BY_ANNOTATION
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Condition, Restarts, Status
from sea_api.wire.state import CoordinatorState, StagePhase, StageState, TrainerFailure
from sea_operator import parsing
from sea_operator.lifecycle import Context
from sea_operator.observed import Job, Observed, SecretSeen
from sea_operator.pods import Pod
from sea_operator.policies.secret_rotation import digests
from sea_operator.resources.build import objects, token_digest
from sea_operator.resources.role_settings import full_size
from sea_operator.settings import Images, revision
from sea_testing.merge_patch import merged

NOW = 1_800_000_000.0
UID = "0a1b2c3d-0000-4000-8000-000000000001"
TOKEN = "token-of-the-test"
STAGES = [
    {"name": "sft", "type": "SFT", "sft": {}},
    {"name": "rl", "type": "RL", "rl": {}},
    {"name": "eval", "type": "Evaluation", "evaluation": {}},
]
SPEC: dict[str, Any] = {
    "model": {"name": "m", "source": "builtin:tiny"},
    "storage": {"url": "s3://bucket/prefix/", "credentialsSecret": "s3"},
    "data": {"sft": ["s3://bucket/sft.jsonl"], "rl": ["s3://bucket/rl.jsonl"]},
    "domains": ["shop"],
    "stages": STAGES,
    # Warm: most tests are about pods, and not about a stage that needs few of them.
    "trainer": {"replicas": 2, "gpusPerPod": 0, "warm": True},
    "rollout": {"replicas": 1, "gpusPerPod": 0, "warm": True},
    "userModel": {"engine": "VLLM", "replicas": 1, "gpusPerPod": 0, "warm": True},
}
ALL_SECRETS = {"s3": SecretSeen(frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}), "old")}


class Make:
    """`make.job(...)`, `make.observed(...)` and so on."""

    now = NOW
    uid = UID
    token = TOKEN

    def raw_spec(self, patch: dict[str, Any] | None = None) -> dict[str, Any]:
        return merged(copy.deepcopy(SPEC), patch or {})

    def spec(self, **patch: Any) -> Spec:
        return Spec.model_validate(self.raw_spec(patch))

    def job(
        self,
        *,
        spec: Spec | None = None,
        status: Status | None = None,
        generation: int = 1,
        name: str = "j",
        invalid: str | None = None,
    ) -> Job:
        return Job(
            name=name,
            namespace="n",
            uid=UID,
            generation=generation,
            resource_version="1",
            spec=None if invalid else spec or self.spec(),
            status=status or Status(),
            invalid=invalid,
        )

    def condition(self, kind: str, status: str, **rest: Any) -> Condition:
        values = {
            "reason": "Reason",
            "message": "Message.",
            "last_transition_time": "2027-01-15T08:00:00Z",
            "observed_generation": 1,
            **rest,
        }
        return Condition(type=kind, status=status, **values)

    def status(self, *conditions: Condition, **fields: Any) -> Status:
        defaults = {
            "observed_generation": 1,
            "trainer_attempt": 1,
            "stage": "sft",
            "start_time": "2027-01-15T08:00:00Z",
        }
        return Status(conditions=list(conditions), **{**defaults, **fields})

    def restarts(self, *recent: float) -> Restarts:
        return Restarts(counted=len(recent), recent=[int(time) for time in recent])

    def state(
        self, *complete: str, stages: tuple[str, ...] = (), **fields: Any
    ) -> CoordinatorState:
        """A coordinator's state: `complete` stages are done, `stages` run."""
        done = [StageState(name=name, phase=StagePhase.COMPLETE) for name in complete]
        run = [StageState(name=name, phase=StagePhase.RUNNING) for name in stages]
        usual = {"uid": UID, "attempt": 1, "stages": [*done, *run], "rank_pods": []}
        return CoordinatorState(**{**usual, **fields})

    def failure(self, attempt: int = 1, cause: Any = "ProcessExit", **rest: Any) -> TrainerFailure:
        values = {"pod": "j-trainer-0", "message": "Exit code 1", "time": NOW, **rest}
        return TrainerFailure(attempt=attempt, cause=cause, **values)

    def pod(self, name: str, role: Role, **rest: Any) -> Pod:
        values = {
            "uid": f"uid-{name}",
            "template_hash": None,
            "ip": "127.0.0.1",
            "ready": True,
            "created": NOW - 1000,
            "node": "node-1",
            "began": True,
            **rest,
        }
        return Pod(name=name, role=role, **values)

    def pods(self, job: Job, **rest: Any) -> tuple[Pod, ...]:
        """All pods of a running job, made from its current templates."""
        assert job.spec is not None
        hashes, secrets = self.hashes(job), self.digests(job)
        return tuple(
            self.pod(
                f"{job.name}-{role.value.lower()}-{i}",
                role,
                **{
                    "template_hash": hashes[role],
                    "secrets_digest": secrets.get(role),
                    **rest,
                },
            )
            for role, size in full_size(job.spec).items()
            for i in range(size)
        )

    def children(self, job: Job, replicas: dict[Role, int] | None = None) -> dict[Any, Any]:
        """Live children exactly as they should be."""
        assert job.spec is not None
        wanted = objects(
            job,
            job.spec,
            replicas or full_size(job.spec),
            Images(),
            token_digest(TOKEN),
            self.digests(job),
        )
        live = copy.deepcopy(wanted)
        for child in live:
            child["metadata"]["uid"] = f"uid-{child['kind']}-{child['metadata']['name']}"
            if child["kind"] == "StatefulSet":
                made = child["spec"]["template"]["metadata"]["labels"][HASH_LABEL]
                record = f"{revision(Images())}.{made}"
                child["metadata"]["annotations"] = {MADE_BY_ANNOTATION: record}
        return {(child["kind"], child["metadata"]["name"]): child for child in live}

    def digests(self, job: Job) -> Mapping[Role, str]:
        """Of the Secrets that each role's pods are started with."""
        assert job.spec is not None
        return digests(Observed(job, secrets=ALL_SECRETS), job.spec)

    def hashes(self, job: Job) -> dict[Role, str]:
        label = "sea-operator.io/template-hash"
        sets = [c for (kind, _), c in self.children(job).items() if kind == "StatefulSet"]
        templates = [child["spec"]["template"]["metadata"]["labels"] for child in sets]
        by_label = {role.value.lower(): role for role in Role}
        return {by_label[labels["sea-operator.io/role"]]: labels[label] for labels in templates}

    def observed(self, job: Job | None = None, **fields: Any) -> Observed:
        """A world in which the job runs and all is well, unless `fields` says otherwise."""
        job = job or self.job(status=self.status())
        settled = (
            {}
            if job.spec is None
            else {
                "children": self.children(job),
                "pods": self.pods(job),
            }
        )
        defaults = {"secrets": ALL_SECRETS, "token": TOKEN, "state": self.state(), **settled}
        return Observed(job=job, **{**defaults, **fields})

    def context(self, **fields: Any) -> Context:
        return Context(**{"now": NOW, "fresh_token": "fresh", **fields})

    def parsed(self, live: dict[str, Any]) -> Job:
        return parsing.job(live)


@pytest.fixture(scope="session")
def make() -> Make:
    """Builders with good defaults."""
    return Make()
