"""What a job lacks for another stage than the one that runs: a warning, and no standstill."""

import dataclasses
from typing import Any

import pytest

from sea_operator.decide import decide
from sea_operator.status import compute

JUDGED = {"verifier": {"judge": {"url": "http://x", "model": "m", "apiKeySecret": "openai"}}}


SYNTHESIS = {
    "name": "make",
    "type": "Synthesis",
    "synthesis": {
        "endpoint": {"url": "http://x/v1", "model": "m", "apiKeySecret": "openai"},
    },
}


@pytest.mark.parametrize("place", ["before", "now", "later"])
@pytest.mark.parametrize("began", [True, False])
def test_a_key_of_another_stage_stalls_only_a_coordinator_that_can_not_start(
    make: Any, place: str, began: bool
) -> None:
    stages = list(make.raw_spec()["stages"])
    stages.insert({"before": 0, "now": 1, "later": 2}[place], SYNTHESIS)
    job = make.job(spec=make.spec(stages=stages), status=make.status(stage=stages[1]["name"]))
    pods = make.pods(job, **({} if began else {"began": False, "ready": False}))
    state = make.state(stages[0]["name"])
    observed = make.observed(job, pods=pods, state=state)
    plan = decide(observed, make.context())
    status = compute(observed, plan, (), make.now)
    stalled = next(one for one in status.conditions if one.type == "Stalled")
    stalls = place == "now" or not began
    assert (stalled.reason == "SecretNotFound") is stalls
    assert bool(plan.lifecycle.later) is not stalls
    assert all("edits of coordinator wait" in one for one in plan.lifecycle.later)


def test_a_stage_runs_without_the_secret_of_another(make: Any) -> None:
    """The job showed `Stalled` although it ran, and nothing said what would be missing when."""
    job = make.job(spec=make.spec(**JUDGED, rollout={"warm": False}), status=make.status())
    observed = make.observed(job)
    plan = decide(observed, make.context())
    status = compute(observed, plan, (), make.now)
    conditions = {one.type: one for one in status.conditions}
    assert conditions["Stalled"].status == "False"
    assert not str(status.state).startswith("Stalled")
    warning = conditions["SpecWarning"]
    assert warning.reason == "NeededLater"
    assert "Secret n/openai that spec.verifier.judge.apiKeySecret names" in warning.message
    assert "Not this stage but rl needs it." in warning.message
    then = make.observed(make.job(spec=job.spec, status=status), state=make.state("sft"))
    after = compute(then, decide(then, make.context()), (), make.now)
    stalled = next(one for one in after.conditions if one.type == "Stalled")
    assert (stalled.status, stalled.reason) == ("True", "SecretNotFound")
    assert after.stage == "rl"
    assert "SpecWarning" not in {one.type for one in after.conditions}


def test_a_name_that_is_taken_stalls_whichever_stage_runs(make: Any) -> None:
    """Only a job that says so looks whether it is free again."""
    job = make.job(spec=make.spec(rollout={"warm": False}), status=make.status())
    observed = make.observed(job)
    stranger = {"kind": "Service", "metadata": {"name": "j-rollout", "uid": "x"}, "spec": {}}
    children = {**observed.children, ("Service", "j-rollout"): stranger}
    plan = decide(dataclasses.replace(observed, children=children), make.context())
    assert plan.lifecycle.blocker is not None
    assert (plan.lifecycle.blocker.reason, plan.lifecycle.later) == ("NameTaken", ())
