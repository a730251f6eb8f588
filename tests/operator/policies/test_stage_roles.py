"""GPUs follow the stages: which roles run in which, and what a change of them leads to."""

import dataclasses
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_operator.decide import decide
from sea_operator.policies.role_sizes import sizes
from sea_operator.report import between
from sea_operator.status import compute

STAGES: list[dict[str, Any]] = [
    {"name": "made", "type": "Synthesis", "synthesis": {}},
    {"name": "user", "type": "UserSFT", "userSFT": {"data": ["s3://b/u.jsonl"]}},
    {"name": "sft", "type": "SFT", "sft": {}},
    {"name": "first", "type": "Evaluation", "evaluation": {}},
    {"name": "rl", "type": "RL", "rl": {}},
    {"name": "last", "type": "Evaluation", "evaluation": {}},
]
COLD = {role: {"warm": False} for role in ("trainer", "rollout", "userModel")}
INDEX: dict[str, int] = {stage["name"]: index for index, stage in enumerate(STAGES)}


def cold(make: Any, **patch: Any) -> Any:
    return make.spec(stages=STAGES, **{**COLD, **patch})


@pytest.mark.parametrize(
    ("stage", "trainer", "rollout", "user"),
    [
        ("made", 0, 0, 0),
        ("user", 2, 0, 0),
        ("sft", 2, 0, 0),
        ("first", 0, 1, 1),
        ("rl", 2, 1, 1),
        ("last", 0, 1, 1),
    ],
)
def test_a_stage_has_the_roles_that_it_needs(
    make: Any, stage: str, trainer: int, rollout: int, user: int
) -> None:
    found = sizes(cold(make), INDEX[stage])
    assert found == {
        Role.COORDINATOR: 1,
        Role.TRAINER: trainer,
        Role.ROLLOUT: rollout,
        Role.USER: user,
    }


@pytest.mark.parametrize(
    ("block", "role"),
    [("trainer", Role.TRAINER), ("rollout", Role.ROLLOUT), ("userModel", Role.USER)],
)
def test_a_warm_role_stays_through_every_stage(make: Any, block: str, role: Role) -> None:
    spec = cold(make, **{block: {"warm": True}})
    assert all(sizes(spec, index)[role] for index in range(len(STAGES)))
    others = sizes(spec, INDEX["made"])
    assert sum(others.values()) == 1 + others[role]


def step(make: Any, spec: Any, status: Any, *complete: str, running: str) -> tuple[Any, Any]:
    """The plan and status of a pass that sees these stages complete."""
    job = make.job(spec=spec, status=status)
    replicas = {
        role: getattr(status.roles, role.value.lower()).desired if status.roles else 0
        for role in (Role.COORDINATOR, Role.TRAINER, Role.ROLLOUT, Role.USER)
    }
    state = make.state(*complete, stages=(running,), attempt=status.trainer_attempt or 1)
    observed = make.observed(job, state=state, children=make.children(job, replicas))
    plan = decide(observed, make.context())
    digest = plan.coordinator_spec.digest if plan.coordinator_spec else None
    told = dataclasses.replace(observed, state=state.model_copy(update={"spec_digest": digest}))
    return plan, compute(told, decide(told, make.context()), (), make.now)


def test_the_trainer_that_goes_ends_its_attempt_and_the_next_one_begins_no_second(
    make: Any,
) -> None:
    """Engines take weights from the store then, and not from the memory of pods that are gone."""
    spec = cold(make)
    done: list[str] = []
    status = make.status(stage="made", trainer_attempt=1)
    seen = []
    for name in INDEX:
        plan, status = step(make, spec, status, *done, running=name)
        seen.append((name, plan.lifecycle.attempt, status.roles.trainer.desired))
        done.append(name)
    assert seen == [
        ("made", 1, 0),
        ("user", 1, 2),
        ("sft", 1, 2),
        ("first", 2, 0),
        ("rl", 2, 2),
        ("last", 3, 0),
    ]


def test_only_pods_that_the_stage_needs_are_waited_for(make: Any) -> None:
    job = make.job(spec=cold(make), status=make.status(stage="sft"))
    pods = tuple(pod for pod in make.pods(job) if pod.role in (Role.TRAINER, Role.COORDINATOR))
    _, status = step(make, job.spec, job.status, "made", "user", running="sft")
    observed = make.observed(job, pods=pods, state=make.state("made", "user", stages=("sft",)))
    plan = decide(observed, make.context())
    ready = next(
        one for one in compute(observed, plan, (), make.now).conditions if one.type == "Ready"
    )
    assert ready.reason != "PodsNotReady"
    assert status.roles.rollout.desired == 0


def test_roles_that_are_scaled_are_one_event(make: Any) -> None:
    spec = cold(make)
    _, before = step(make, spec, make.status(stage="sft"), "made", "user", running="sft")
    _, after = step(make, spec, before, "made", "user", "sft", running="first")
    (event,) = [event for event in between(before, after) if event.reason == "Scaled"]
    assert event.message == (
        "Pods of stage first: trainer from 2 to 0, rollout from 0 to 1, user from 0 to 1."
    )
    assert not [event for event in between(after, after) if event.reason == "Scaled"]
