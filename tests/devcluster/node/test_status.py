"""Pod status from container records: phases, conditions, transition times."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sea_devcluster.node.container_record import ContainerRecord, Termination, from_status
from sea_devcluster.node.status import PodView, phase, pod_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FRESH = ContainerRecord("c", "image").as_waiting("ContainerCreating")
RUNNING = FRESH.as_running(NOW, "id")
READY = RUNNING.as_probed(started=True, ready=True)


def ended(code: Any, record: Any = RUNNING) -> Any:
    return record.as_terminated(Termination(code, "Error" if code else "Completed", NOW, NOW))


def crashing(code: Any) -> Any:
    return ended(code).as_waiting("CrashLoopBackOff")


def pod(policy: Any = "Always", init: Any = (), **spec: Any) -> Any:
    init_containers = [{"name": name, **fields} for name, fields in init]
    return {
        "metadata": {"name": "p", "generation": 1},
        "spec": {"restartPolicy": policy, "initContainers": init_containers, **spec},
    }


@pytest.mark.parametrize(
    ("policy", "records", "expected"),
    [
        ("Always", [FRESH], "Pending"),
        ("Always", [RUNNING], "Running"),
        ("Always", [RUNNING, FRESH], "Pending"),
        ("Always", [ended(0)], "Running"),
        ("Always", [ended(1)], "Running"),
        ("Always", [crashing(1)], "Running"),
        ("OnFailure", [ended(0)], "Succeeded"),
        ("OnFailure", [ended(1)], "Running"),
        ("OnFailure", [crashing(1), ended(0)], "Running"),
        ("Never", [ended(0), ended(0)], "Succeeded"),
        ("Never", [ended(0), ended(2)], "Failed"),
        ("Never", [ended(2), RUNNING], "Running"),
    ],
)
def test_phases(policy: str, records: Any, expected: str) -> None:
    assert phase(PodView(pod(policy), records)) == expected


@pytest.mark.parametrize(
    ("policy", "init", "main", "expected"),
    [
        ("Always", [FRESH], FRESH, "Pending"),
        ("Always", [RUNNING], FRESH, "Pending"),
        ("Always", [ended(1)], FRESH, "Pending"),
        ("Never", [ended(1)], FRESH, "Failed"),
        ("Never", [ended(0)], FRESH, "Pending"),
        ("Never", [ended(0)], RUNNING, "Running"),
    ],
)
def test_phases_with_init_containers(policy: str, init: Any, main: Any, expected: str) -> None:
    view = PodView(pod(policy, [("c", {})]), [main], init)
    assert phase(view) == expected


def test_a_sidecar_does_not_hold_the_pod_back() -> None:
    spec = pod("Never", [("side", {"restartPolicy": "Always"})])
    side = (
        ContainerRecord("side", "image").as_running(NOW, "id").as_probed(started=True, ready=True)
    )
    assert phase(PodView(spec, [ended(0)], [side])) == "Succeeded"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([ended(0)], "Succeeded"),
        ([ended(143)], "Failed"),
        ([crashing(1)], "Failed"),
        ([FRESH], "Failed"),
    ],
)
def test_a_pod_that_is_deleted_ends_for_good(records: Any, expected: str) -> None:
    assert phase(PodView(pod(), records, ending=True)) == expected


def status(view: Any, previous: Any = None, now: Any = NOW) -> Any:
    return pod_status(view, previous or {}, now)


def conditions(found: Any) -> Any:
    return {one["type"]: one["status"] for one in found["conditions"]}


def test_ready_conditions() -> None:
    waiting = status(PodView(pod(), [READY, RUNNING], pod_ip="127.1.2.3"))
    assert conditions(waiting)["Ready"] == "False"
    assert conditions(waiting)["Initialized"] == "True"
    ready = status(PodView(pod(), [READY], pod_ip="127.1.2.3"))
    assert conditions(ready)["Ready"] == conditions(ready)["ContainersReady"] == "True"


def test_readiness_gates_hold_ready_back() -> None:
    gated = pod(readinessGates=[{"conditionType": "mine"}])
    assert conditions(status(PodView(gated, [READY])))["Ready"] == "False"
    gated["status"] = {"conditions": [{"type": "mine", "status": "True"}]}
    assert conditions(status(PodView(gated, [READY])))["Ready"] == "True"


def test_transition_times_only_change_with_the_condition() -> None:
    first = status(PodView(pod(), [RUNNING]))
    later = NOW + timedelta(minutes=1)
    same = status(PodView(pod(), [RUNNING]), first, later)
    assert same == first
    changed = status(PodView(pod(), [READY]), same, later)
    times = {one["type"]: one["lastTransitionTime"] for one in changed["conditions"]}
    assert times["Ready"] == "2026-01-02T03:05:05Z"
    assert times["Initialized"] == "2026-01-02T03:04:05Z"


def test_a_refused_pod_has_reason_and_message() -> None:
    found = status(PodView(pod(), [], failure=("UnsupportedByDevcluster", "spec.x isn't")))
    assert (found["phase"], found["reason"]) == ("Failed", "UnsupportedByDevcluster")


def test_restarts_are_counted_and_the_last_run_remembered() -> None:
    record = ended(7).as_running(NOW, "second")
    body = record.to_status()
    assert body["restartCount"] == 1
    assert body["lastState"]["terminated"]["exitCode"] == 7
    assert ended(9, record).as_waiting("CrashLoopBackOff").as_running(NOW, "3").restart_count == 2


def test_a_new_agent_knows_that_running_containers_ended() -> None:
    before = RUNNING.to_status()
    record = from_status("c", "image", before, NOW)
    assert record.terminated is not None
    assert (record.terminated.exit_code, record.terminated.reason) == (
        137,
        "ContainerStatusUnknown",
    )
    assert record.as_running(NOW, "new").restart_count == 1


@pytest.mark.parametrize("record", [FRESH, ended(3), crashing(4)])
def test_records_survive_an_agents_restart(record: Any) -> None:
    again = from_status("c", "image", record.to_status(), NOW)
    assert (again.terminated, again.last) == (record.terminated, record.last)
    assert again.restart_count == record.restart_count
