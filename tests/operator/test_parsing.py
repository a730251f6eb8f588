"""Stored objects become what the policies read; nothing that is stored raises."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.status import Status
from sea_operator import parsing, pod_parsing
from sea_operator.pods import Termination
from sea_operator.spec_warnings import spec_warning

RELEASES = Path(__file__).parents[1] / "releases"


def stored(make: Any, spec: Any = None, status: Any = None) -> Any:
    meta = {"name": "j", "namespace": "n", "uid": "u", "generation": 3, "resourceVersion": "9"}
    return {"metadata": meta, "spec": make.raw_spec(spec), "status": status or {}}


def test_a_job(make: Any) -> None:
    job = parsing.job(stored(make, status={"stage": "rl", "observedGeneration": 2}))
    assert (job.name, job.uid, job.generation, job.status.stage) == ("j", "u", 3, "rl")
    assert job.invalid is None


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"rollout": {"replicas": "many"}}, "spec.rollout.replicas: "),
        ({"stages": [{"name": "rl", "type": "RL", "rl": {"steps": 0}}]}, "spec.stages[0].rl.steps"),
        ({"model": None}, "spec.model: is required: add it"),
        ({"rl": 1, "rollout": {"replicas": "many", "shape": 1}}, "spec.rollout.replicas: "),
    ],
)
def test_an_invalid_spec_becomes_a_sentence(make: Any, patch: Any, says: str) -> None:
    job = parsing.job(stored(make, patch))
    assert job.spec is None
    assert job.invalid is not None
    assert job.invalid.startswith("The job can't be read: ")
    assert says in job.invalid
    assert job.invalid.endswith("Edit the job.")


BROKEN: dict[str, Any] = {
    "rollout": {"gpusPerPod": 8, "parallelism": {"tensor": 1}},
    "stages": [{"name": "rl", "type": "RL", "rl": {"temperature": 5.0}}],
}
"""As release 0.1.0 admitted it: it stored `tensor: 1`, its default, in each job with GPUs."""
BEGUN = {"startTime": "2026-11-30T03:00:00Z"}


def test_a_job_that_has_begun_goes_on_although_it_breaks_rules_of_this_release(make: Any) -> None:
    job = parsing.job(stored(make, BROKEN, BEGUN))
    assert job.invalid is None
    assert job.spec is not None
    assert job.spec.stages[0].rl is not None
    assert (job.spec.rollout.parallelism.tensor, job.spec.stages[0].rl.temperature) == (1, 5.0)
    told = spec_warning(job)
    assert told is not None
    assert told.reason == "OlderRules"
    assert "spec.stages[0].rl.temperature: must be at most 2" in told.message
    assert "spec.rollout: parallelism.tensor must be gpusPerPod" in told.message
    later = stored(make, BROKEN, {**BEGUN, "stage": "rl"})
    assert parsing.job(later, job).broken_rules == job.broken_rules


@pytest.mark.parametrize(
    ("patch", "status"),
    [(BROKEN, {}), ({**BROKEN, "rollout": {"replicas": -1}}, BEGUN)],
)
def test_a_job_that_costs_no_gpus_yet_or_cannot_be_read_waits_for_an_edit(
    make: Any, patch: Any, status: Any
) -> None:
    assert parsing.job(stored(make, patch, status)).spec is None


def test_a_long_list_of_findings_is_cut(make: Any) -> None:
    bad = {"stages": [{"name": f"s{i}", "type": "Dream"} for i in range(9)]}
    assert "; and 4 more. Edit" in (parsing.job(stored(make, bad)).invalid or "")


def test_fields_of_another_release_are_left_out_of_the_spec_and_named(make: Any) -> None:
    """An operator that is rolled back reads what the newer CRD let a user write."""
    newer = {
        "nonsense": {"deep": 1},
        "rollout": {"replicas": 3, "shape": "round"},
        "stages": [{"name": "sft", "type": "SFT", "sft": {"magic": True}}],
    }
    job = parsing.job(stored(make, newer))
    assert job.invalid is None
    assert job.spec is not None
    assert job.spec.rollout.replicas == 3
    assert set(job.ignored) == {"spec.nonsense", "spec.rollout.shape", "spec.stages[0].sft.magic"}


def test_what_was_left_out_is_still_known_while_the_generation_stands_still(make: Any) -> None:
    live = stored(make, {"nonsense": 1})
    assert parsing.job(live, parsing.job(live)).ignored == ("spec.nonsense",)


@pytest.mark.parametrize(
    ("foreign", "kept"),
    [
        ({"stage": ["?"]}, {}),
        ({"stage": "rl", "yetUnknown": {"a": 1}}, {"stage": "rl"}),
        (
            {"stage": "rl", "restarts": {"counted": 3, "forgiven": 1}, "roles": {"judge": {}}},
            {"stage": "rl", "restarts": {"counted": 3}, "roles": {}},
        ),
        ({"stage": "rl", "restarts": {"counted": -3, "forgiven": 1}}, {"stage": "rl"}),
        ({"stage": "rl", "conditions": "none"}, {"stage": "rl"}),
    ],
)
def test_of_a_status_of_another_release_what_can_be_read_counts(
    make: Any, foreign: Any, kept: Any
) -> None:
    """An operator that is rolled back must not run a complete job again."""
    assert parsing.job(stored(make, status=foreign)).status == Status.model_validate(kept)


@pytest.mark.parametrize(
    "release", sorted(RELEASES.glob("*/job.yaml")), ids=lambda p: p.parent.name
)
def test_jobs_of_all_releases_are_read_whole(release: Path) -> None:
    """No field may get another meaning, and none that is stored may become required."""
    stored = yaml.safe_load(release.read_text())
    meta = {"namespace": "n", "uid": "u", "generation": 3, "resourceVersion": "9"}
    job = parsing.job({**stored, "metadata": {**stored["metadata"], **meta}})
    assert (job.invalid, job.ignored) == (None, ())
    read = job.status.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert {key: read[key] for key in stored["status"]} == stored["status"]


def test_unknown_fields_of_a_status_are_named(make: Any) -> None:
    foreign = {"stage": "rl", "yetUnknown": {"a": 1}, "restarts": {"counted": 3, "forgiven": 1}}
    job = parsing.job(stored(make, status=foreign))
    assert job.foreign == {("yetUnknown",), ("restarts", "forgiven")}
    assert job.ignored == ("status.restarts.forgiven", "status.yetUnknown")


def test_a_condition_with_a_field_more_is_still_known(make: Any) -> None:
    complete = make.condition("Complete", "True").model_dump(by_alias=True)
    found = parsing.job(stored(make, status={"conditions": [{**complete, "since": 1}]})).status
    assert [(one.type, one.status) for one in found.conditions] == [("Complete", "True")]


def pod(**status: Any) -> Any:
    labels = {"sea-operator.io/role": "trainer", "sea-operator.io/template-hash": "h"}
    meta = {
        "name": "j-trainer-0",
        "uid": "u",
        "labels": labels,
        "creationTimestamp": "2027-01-15T08:00:00Z",
    }
    return {"metadata": meta, "spec": {"nodeName": "node-1"}, "status": status}


def test_a_pod() -> None:
    ready = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    seen = pod_parsing.pod(pod(**ready))
    assert (seen.role, seen.template_hash, seen.ip) == (Role.TRAINER, "h", "10.0.0.1")
    assert (seen.ready, seen.node, seen.created) == (True, "node-1", 1_800_000_000.0)
    assert (seen.deleted, seen.disrupted) == (None, False)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"reason": "Evicted"}, True),
        ({"conditions": [{"type": "DisruptionTarget", "status": "True"}]}, True),
        ({"conditions": [{"type": "DisruptionTarget", "status": "False"}]}, False),
    ],
)
def test_disruption(status: Any, expected: bool) -> None:
    assert pod_parsing.pod(pod(**status)).disrupted is expected


def test_the_newest_end_of_each_container_of_ours() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    older = {"terminated": {"exitCode": 1}}
    containers = [
        {"name": "engine", "state": {"running": {}}, "lastState": ended},
        {"name": "worker", "state": ended, "lastState": older},
        {"name": "istio-proxy", "state": ended},
    ]
    found = pod_parsing.pod(pod(containerStatuses=containers)).terminations
    assert found == (
        Termination("engine", 137, "OOMKilled", previous=True),
        Termination("worker", 137, "OOMKilled"),
    )


@pytest.mark.parametrize(("status", "dead"), [("True", False), ("False", True), ("Unknown", True)])
def test_a_node_is_dead_unless_ready(status: str, dead: bool) -> None:
    node = {"status": {"conditions": [{"type": "Ready", "status": status}]}}
    assert pod_parsing.is_dead(node) is dead


SCHEDULED = {"type": "PodScheduled", "status": "True"}
NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}


def held_up(reason: Any, message: Any = "", **more: Any) -> Any:
    return {"name": "engine", "state": {"waiting": {"reason": reason, "message": message}}, **more}


BACK_OFF = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
LOG = "one\ntwo\nTraceback\n\n  File x\nRuntimeError: no GPU\n"
CRASHED = {
    "name": "engine",
    "restartCount": 4,
    "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": LOG}},
}
AGAIN = (
    "restarted 4 times and last ended with exit code 3 (Error): "
    "Traceback | File x | RuntimeError: no GPU"
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ""),
        ({"conditions": [SCHEDULED], "containerStatuses": [held_up("ContainerCreating")]}, ""),
        (
            {"conditions": [NO_NODE]},
            "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        ),
        (
            {"containerStatuses": [held_up("ImagePullBackOff", "no such image")]},
            "container engine can't start: ImagePullBackOff: no such image",
        ),
        (
            {"containerStatuses": [{**CRASHED, "state": {"waiting": BACK_OFF}}]},
            f"container engine {AGAIN}",
        ),
        # The same words while it runs again: a change would be a write per back-off.
        (
            {"containerStatuses": [{**CRASHED, "state": {"running": {}}}]},
            f"container engine {AGAIN}",
        ),
        ({"containerStatuses": [{**CRASHED, "state": {"running": {}}, "ready": True}]}, ""),
        # An injected init container keeps ours from starting (`cases/k8s/16-injected-containers`).
        (
            {
                "initContainerStatuses": [
                    {**CRASHED, "name": "istio-init", "state": {"waiting": BACK_OFF}}
                ],
                "containerStatuses": [held_up("PodInitializing")],
            },
            f"init container istio-init {AGAIN}",
        ),
        (
            {"containerStatuses": [{"name": "x", "state": {"terminated": {"exitCode": 1}}}]},
            "container x last ended with exit code 1",
        ),
        ({"containerStatuses": [{"name": "engine", "state": {"running": {}}}]}, ""),
    ],
)
def test_what_keeps_a_pod_from_running(status: Any, expected: str) -> None:
    assert pod_parsing.waiting({"status": status}) == expected


def test_a_gated_pod_names_its_gates() -> None:
    """As a queueing system holds it (`cases/k8s/14-gated`)."""
    held = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    gates = [{"name": "kueue.x-k8s.io/admission"}, {"name": "example.com/quota"}]
    live = {"spec": {"schedulingGates": gates}, "status": {"conditions": [held]}}
    assert pod_parsing.waiting(live) == (
        "not scheduled before its scheduling gates are removed: kueue.x-k8s.io/admission, "
        "example.com/quota"
    )


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"status": "True", "lastTransitionTime": "2027-01-15T08:05:00Z"}, True),
        ({"status": "False", "lastTransitionTime": "2027-01-15T08:00:01Z"}, False),
        ({"status": "False", "lastTransitionTime": "2027-01-15T08:05:00Z"}, True),
        ({"status": "False"}, True),
    ],
)
def test_whether_a_pod_was_ever_ready(condition: Any, expected: bool) -> None:
    status = {"startTime": "2027-01-15T08:00:00Z", "conditions": [{"type": "Ready", **condition}]}
    assert pod_parsing.pod(pod(**status)).ever_ready is expected


def test_what_holds_a_deleted_pod_and_what_cuts_one_off() -> None:
    live = pod(conditions=[{"type": "ContainersReady", "status": "True"}])
    live["metadata"]["finalizers"] = ["example.com/hold"]
    seen = pod_parsing.pod(live)
    assert (seen.finalizers, seen.cut_off) == (("example.com/hold",), True)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (None, "its node n-1 is gone"),
        ({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, None),
        (
            {
                "status": {
                    "conditions": [
                        {
                            "type": "Ready",
                            "status": "Unknown",
                            "lastTransitionTime": "2027-01-15T08:00:00Z",
                            "message": "Kubelet stopped posting node status.",
                        }
                    ]
                }
            },
            "its node n-1 isn't ready since 2027-01-15T08:00:00Z (Kubelet stopped posting node "
            "status)",
        ),
    ],
)
def test_what_is_wrong_with_a_node(node: Any, expected: str | None) -> None:
    assert pod_parsing.node_trouble("n-1", node) == expected


def test_the_containers_that_count_are_those_that_the_operator_makes(make: Any) -> None:
    sets = [
        child for (kind, _), child in make.children(make.job()).items() if kind == "StatefulSet"
    ]
    pods = [child["spec"]["template"]["spec"] for child in sets]
    assert {one["name"] for pod in pods for one in pod["containers"]} == pod_parsing.OWN_CONTAINERS
