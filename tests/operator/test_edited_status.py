"""A status that a person edited by hand, or another release wrote: passes go on, and mend it."""

import copy
from typing import Any

import pytest

from sea_operator import parsing
from sea_operator.decide import decide
from sea_operator.report import between
from sea_operator.status import compute

NO_TIME = "tomorrow"
TIME = "2027-01-15T08:00:00Z"
TOMORROW = "2027-01-16T08:00:00Z"
CONDITION = {"reason": "Reason", "message": "Message.", "observedGeneration": 1}
FAILED = {**CONDITION, "type": "Failed", "status": "True", "lastTransitionTime": TIME}
DRAINING = {
    **CONDITION,
    "type": "Suspended",
    "status": "Unknown",
    "lastTransitionTime": NO_TIME,
}
POD = {"pod": "j-trainer-0", "cause": "ProcessExit", "time": NO_TIME}
SAVED = {"version": 1, "step": 4, "bytes": 5, "time": NO_TIME}
ROLE = {"state": "Short", "size": 2, "asked": 2, "beganWith": 2, "since": NO_TIME}
ELASTIC = {"minReplicas": 1, "maxReplicas": 2}

EDITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "everything gone": ({}, {}),
    "no time of a drain": ({"conditions": [DRAINING]}, {"suspend": True}),
    "a drain that begins tomorrow": (
        {"conditions": [{**DRAINING, "lastTransitionTime": TOMORROW}]},
        {"suspend": True},
    ),
    "an end that is still to come": (
        {
            "conditions": [FAILED],
            "completionTime": TOMORROW,
            "lastFailure": {**POD, "role": "Trainer", "message": "x"},
        },
        {},
    ),
    "an elastic size of tomorrow": (
        {"elastic": {"trainer": {**ROLE, "since": TOMORROW, "shrunk": [1800086400]}}},
        {"trainer": {"elastic": ELASTIC}},
    ),
    "no time of a failure": ({"recentFailures": [POD, POD]}, {}),
    "no time of the end": (
        {
            "conditions": [FAILED],
            "completionTime": NO_TIME,
            "lastFailure": {**POD, "role": "Trainer", "message": "x"},
        },
        {},
    ),
    "no time of a checkpoint": ({"checkpoint": SAVED}, {}),
    "no time of an elastic size": (
        {"elastic": {"trainer": ROLE}},
        {"trainer": {"elastic": ELASTIC}},
    ),
    "a stage that isn't there": ({"stage": "bogus"}, {}),
    "more stages than there are": ({"stagesBegun": 32, "stagesEnded": 32}, {}),
    "attempt 0": ({"trainerAttempt": 0}, {}),
    "a far attempt": ({"trainerAttempt": 10**9}, {}),
    "sizes of nothing": (
        {"elastic": {"trainer": {**ROLE, "size": 0, "asked": 0, "since": TIME}}},
        {"trainer": {"elastic": ELASTIC}},
    ),
    "a size beyond the range": (
        {"elastic": {"rollout": {**ROLE, "size": 900, "asked": 900, "since": TIME}}},
        {"rollout": {"replicas": 1, "elastic": ELASTIC}},
    ),
    "fenced strangers": ({"fenced": ["a", "b"]}, {}),
    "a budget in the future": ({"restarts": {"counted": 1, "recent": [2**52]}}, {}),
    "a request to go back that nobody made": (
        {"rollback": {"stage": "rl", "step": 1, "generation": 9, "state": "GoingBack"}},
        {},
    ),
    "conditions of an unknown type": (
        {"conditions": [{**FAILED, "type": "Novel", "lastTransitionTime": ""}]},
        {},
    ),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("failed", [False, True], ids=["runs", "trainer fails"])
def test_passes_go_on_whatever_a_person_wrote_into_the_status(
    make: Any, edit: str, failed: bool
) -> None:
    """A pass that raised would fail for ever: nothing but a pass writes the status."""
    status, patch = copy.deepcopy(EDITS[edit])
    meta = {"name": "j", "namespace": "n", "uid": make.uid, "generation": 1, "resourceVersion": "9"}
    now = make.now

    def after(stored: dict[str, Any]) -> Any:
        job = parsing.job({"metadata": meta, "spec": make.raw_spec(patch), "status": stored})
        attempt = job.status.trainer_attempt or 1
        failure = make.failure(attempt=attempt) if failed else None
        state = make.state(stages=("sft",), attempt=attempt, trainer_failure=failure)
        seen = make.observed(job, state=state)
        plan = decide(seen, make.context(now=now))
        found = compute(seen, plan, (), now)
        list(between(job.status, found))
        return found

    found = status
    for _ in range(3):
        written = after(found)
        now += 1000.0
        found = written.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert written.observed_generation == 1
    assert {one.type for one in written.conditions} >= {"Ready", "Stalled", "Failed"}
    assert TOMORROW not in written.model_dump_json(), "its timers would run for a day longer"


def test_an_emptied_status_starts_no_complete_job_again(make: Any) -> None:
    """What is complete its coordinator knows, which finds it in the object store."""
    meta = {"name": "j", "namespace": "n", "uid": make.uid, "generation": 1, "resourceVersion": "9"}
    job = parsing.job({"metadata": meta, "spec": make.raw_spec(), "status": {}})
    seen = make.observed(job, state=make.state("sft", "rl", "eval"))
    found = compute(seen, decide(seen, make.context()), (), make.now)
    assert found.state == "Complete"
