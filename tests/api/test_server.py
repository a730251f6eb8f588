"""The installed CRD on a real API server: defaults, columns, subresources, the examples."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_api.v1alpha1.job import SEATrainingJob
from sea_devcluster.api import KubeApi
from sea_devcluster.errors import ApiError
from sea_testing.fixture_types import BuildJob, Kubectl
from sea_testing.waiting import wait_for

pytestmark = pytest.mark.cluster

JOBS = "/apis/sea-operator.io/v1alpha1/namespaces/default/seatrainingjobs"
EXAMPLES = ["tiny", "retail", "worlds", "parallel", "areal-sea-235b"]
STATUS = {
    "observedGeneration": 1,
    "state": "Running",
    "stage": "rl",
    "progress": "7/40",
    "reward": 0.625,
    "pass1": "53.9",
    "weights": {"published": 9, "adoptedMin": 8, "adoptedMax": 9, "engines": 2},
    "checkpoint": {
        "stage": "sft",
        "version": 5,
        "step": 5,
        "time": "2026-01-01T00:00:00Z",
        "bytes": 1,
    },
    "roles": {"rollout": {"desired": 3, "ready": 2}},
    "rolloutSelector": "sea-operator.io/job=columns,sea-operator.io/role=rollout",
    "staleness": 0.5,
    "goodput": "97.1",
    "restarts": {"counted": 2, "uncounted": 0},
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Running",
            "message": "All is well.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
}


def _plain(model: SEATrainingJob) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


@pytest.fixture
def stored(kube: KubeApi, crd: Any, job: BuildJob) -> Iterator[BuildJob]:
    """`stored(name, patch)` creates a job for one test."""
    names: list[str] = []

    def create(name: str, patch: dict[str, Any] | None = None) -> dict[str, Any]:
        manifest = job({**(patch or {}), "metadata": {"name": name}})
        created: dict[str, Any] = kube.request("POST", f"{JOBS}?fieldValidation=Strict", manifest)
        names.append(name)
        return created

    yield create
    for name in names:
        kube.request("DELETE", f"{JOBS}/{name}")


def test_the_server_took_the_schema_as_it_is(crd: dict[str, Any], root: Path) -> None:
    """Established, and nothing of our schema was dropped on the way."""
    file = yaml.safe_load((root / "crds" / "sea-operator.io_seatrainingjobs.yaml").read_text())
    sent, kept = (c["spec"]["versions"][0]["schema"] for c in (file, crd))
    assert kept == sent
    reasons = [c for c in crd["status"]["conditions"] if c["type"] == "NonStructuralSchema"]
    assert reasons == []


def test_both_write_the_same_defaults(stored: BuildJob) -> None:
    """What pydantic fills in is what the server fills in."""
    created = stored("defaults")
    model = SEATrainingJob.model_validate(created)
    assert created["spec"] == _plain(model)["spec"]
    assert created["status"] == _plain(model)["status"]


def test_status_begins_before_the_first_generation(stored: BuildJob, kube: KubeApi) -> None:
    """kstatus reads a job that no operator has seen as InProgress, not as Current."""
    stored("untouched")
    read = kube.get(f"{JOBS}/untouched")
    assert read["status"]["observedGeneration"] == -1 < read["metadata"]["generation"]


def test_a_status_from_the_model_is_stored_whole(stored: BuildJob, kube: KubeApi) -> None:
    stored("status")
    body = {**kube.get(f"{JOBS}/status"), "status": STATUS}
    written = kube.request("PUT", f"{JOBS}/status/status?fieldValidation=Strict", body)
    assert written["status"] == _plain(SEATrainingJob.model_validate(body))["status"]


def test_columns_of_kubectl_get(stored: BuildJob, kube: KubeApi, kubectl: Kubectl) -> None:
    stored("columns")
    kube.request("PUT", f"{JOBS}/columns/status", {**kube.get(f"{JOBS}/columns"), "status": STATUS})
    head, row = kubectl("get", "seajob", "columns").splitlines()
    shown = ["STATE", "STAGE", "STEP", "REWARD", "PASS^1", "WEIGHTS", "READY"]
    assert head.split() == ["NAME", *shown, "AGE"]
    assert row.split()[:8] == ["columns", "Running", "rl", "7/40", "0.625", "53.9", "9", "True"]
    assert "seatrainingjob.sea-operator.io/columns" in kubectl("get", "all", "-o", "name").split()
    wide = kubectl("get", "seatrainingjobs", "columns", "-o", "wide").splitlines()
    assert {"REASON", "CHECKPOINT", "SAVED", "STALENESS", "GOODPUT", "RESTARTS"} <= set(
        wide[0].split()
    )
    assert {"Running", "sft", "5", "0.5", "97.1", "2"} <= set(wide[1].split())


def test_kubectl_scale_sets_the_rollouts(stored: BuildJob, kube: KubeApi, kubectl: Kubectl) -> None:
    stored("scaled")
    body = {**kube.get(f"{JOBS}/scaled"), "status": STATUS}
    kube.request("PUT", f"{JOBS}/scaled/status", body)
    kubectl("scale", "seajob", "scaled", "--replicas=3")
    assert kube.get(f"{JOBS}/scaled")["spec"]["rollout"]["replicas"] == 3
    scale = kube.get(f"{JOBS}/scaled/scale")
    assert scale["status"] == {"replicas": 2, "selector": STATUS["rolloutSelector"]}


def test_scaling_passes_the_rules_too(stored: BuildJob, kubectl: Kubectl, kube: KubeApi) -> None:
    """A scale outside the elastic range is refused with the rule's sentence."""
    stored("elastic", {"spec": {"rollout": {"elastic": {"minReplicas": 1, "maxReplicas": 2}}}})
    scale = kube.get(f"{JOBS}/elastic/scale")
    scale["spec"]["replicas"] = 5
    with pytest.raises(ApiError, match="replicas must lie within"):
        kube.request("PUT", f"{JOBS}/elastic/scale", scale)


def test_explicit_nulls(kube: KubeApi, crd: Any, job: BuildJob) -> None:
    """Null where a default exists takes the default; elsewhere the server refuses it."""
    base = job()
    defaulted = {**base, "spec": {**base["spec"], "trainer": None}}
    created = kube.request("POST", f"{JOBS}?dryRun=All&fieldValidation=Strict", defaulted)
    assert created["spec"]["trainer"]["replicas"] == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_accepted(
    name: str, root: Path, kube: KubeApi, kubectl: Kubectl, crd: Any
) -> None:
    """By kubectl, strictly, and the stored object equals the models' dump."""
    manifest = yaml.safe_load((root / "examples" / f"{name}.yaml").read_text())
    namespace = manifest["metadata"]["namespace"]
    kubectl("apply", "-f", "-", stdin=json.dumps(_namespace(namespace)))
    path = str(root / "examples" / f"{name}.yaml")
    options = ("--dry-run=server", "--validate=strict", "-o", "json")
    created = json.loads(kubectl("create", "-f", path, *options))
    models = [SEATrainingJob.model_validate(one) for one in (created, manifest)]
    assert models[0].spec == models[1].spec


def test_kubectl_explain_shows_descriptions(kubectl: Kubectl, crd: Any) -> None:
    """`kubectl explain` shows the docstrings."""
    text = kubectl("explain", "seatrainingjobs.spec.stages.rl.maxStaleness")
    assert "eta of the staleness gate" in " ".join(text.split()), "kubectl breaks lines"


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def test_an_admission_policy_does_not_see_a_dropped_field(
    kube: KubeApi, crd: Any, job: BuildJob
) -> None:
    """The reason why the chart has none: fields are pruned before any policy looks."""
    group = "/apis/admissionregistration.k8s.io/v1"
    rule = {
        "apiGroups": ["sea-operator.io"],
        "apiVersions": ["v1alpha1"],
        "operations": ["CREATE"],
        "resources": ["seatrainingjobs"],
    }
    policy = {
        "metadata": {"name": "sees"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [
                {"expression": "object.metadata.name != 'seen'", "message": "the policy is active"},
                {"expression": "!has(object.spec.paused)", "message": "paused was seen"},
            ],
        },
    }
    binding = {"policyName": "sees", "validationActions": ["Deny"]}
    objects = {
        "validatingadmissionpolicies": policy,
        "validatingadmissionpolicybindings": {"metadata": {"name": "sees"}, "spec": binding},
    }
    strange = job({"metadata": {"name": "strange"}, "spec": {"paused": True}})
    try:
        for plural, body in objects.items():
            kube.request("POST", f"{group}/{plural}", body)
        wait_for("the policy", lambda: _refusal(kube, job({"metadata": {"name": "seen"}})))
        made = kube.request("POST", f"{JOBS}?dryRun=All&fieldValidation=Ignore", strange)
        assert "paused" not in made["spec"]
    finally:
        for plural in objects:
            kube.request("DELETE", f"{group}/{plural}/sees")


def _refusal(kube: KubeApi, manifest: dict[str, Any]) -> str | None:
    try:
        kube.request("POST", f"{JOBS}?dryRun=All", manifest)
    except ApiError as error:
        return str(error)
    return None
