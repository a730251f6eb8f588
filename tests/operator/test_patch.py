"""What a patch changes in a role's pods, and what it may not."""

from typing import Any

import pytest

from sea_api.v1alpha1.pod_patch import OUR_CONTAINERS, OUR_VOLUMES
from sea_operator.decide import decide
from sea_operator.observed import Observed
from sea_operator.resources.build import objects, token_digest
from sea_operator.resources.patch import PatchRefusedError
from sea_operator.resources.role_settings import full_size
from sea_operator.settings import Images

FIELDS = {
    "coordinator": "coordinator",
    "trainer": "trainer",
    "rollout": "rollout",
    "user": "userModel",
}
MAIN = {"coordinator": "coordinator", "trainer": "trainer", "rollout": "engine", "user": "engine"}


@pytest.fixture
def template(make: Any) -> Any:
    """`template(role, patch)` -> the role's pod template with the patch in it."""

    def run(role: str, patch: dict[str, Any], **fields: Any) -> dict[str, Any]:
        given = {**fields, "template": {"patch": patch}}
        job = make.job(spec=make.spec(**{FIELDS[role]: given}))
        made = objects(job, job.spec, full_size(job.spec), Images(), token_digest("t"), {})
        found: dict[str, Any] = next(
            child["spec"]["template"]
            for child in made
            if (child["kind"], child["metadata"]["name"]) == ("StatefulSet", f"j-{role}")
        )
        return found

    return run


def named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


@pytest.mark.parametrize("role", FIELDS)
def test_a_patch_reaches_the_pods_of_each_role(template: Any, role: str) -> None:
    main = MAIN[role]
    source = {"secretKeyRef": {"name": "s", "key": "k"}}
    patch: dict[str, Any] = {
        "metadata": {
            "labels": {"team": "ml"},
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
        },
        "spec": {
            "serviceAccountName": "irsa",
            "imagePullSecrets": [{"name": "regcred"}],
            "runtimeClassName": "nvidia",
            "affinity": {"nodeAffinity": {"x": 1}},
            "securityContext": {"runAsUser": 1000},
            "initContainers": [{"name": "warm", "image": "x", "restartPolicy": "Always"}],
            "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "c"}}],
            "containers": [
                {"name": "sidecar", "image": "y"},
                {
                    "name": main,
                    "env": [{"name": "K", "valueFrom": source}],
                    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                    "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
                },
            ],
        },
    }
    plain, made = template(role, {}), template(role, patch)
    meta, spec = made["metadata"], made["spec"]
    assert meta["labels"]["team"] == "ml"
    assert plain["metadata"]["labels"].items() - meta["labels"].items() == {
        (
            "sea-operator.io/template-hash",
            plain["metadata"]["labels"]["sea-operator.io/template-hash"],
        )
    }
    assert plain["metadata"]["annotations"].items() <= meta["annotations"].items()
    assert meta["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    for key in ("serviceAccountName", "imagePullSecrets", "runtimeClassName", "initContainers"):
        assert spec[key] == patch["spec"][key]
    assert spec["affinity"] == {"nodeAffinity": {"x": 1}}
    assert spec["securityContext"] == {**plain["spec"]["securityContext"], "runAsUser": 1000}
    assert spec["volumes"] == [*plain["spec"]["volumes"], *patch["spec"]["volumes"]]
    assert named(spec["containers"], "sidecar") == {"name": "sidecar", "image": "y"}
    before, after = named(plain["spec"]["containers"], main), named(spec["containers"], main)
    assert after["env"] == [*before["env"], *patch["spec"]["containers"][1]["env"]]
    assert after["volumeMounts"][-1] == {"name": "cache", "mountPath": "/cache"}
    assert after["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
    assert after["command"] == before["command"]


@pytest.mark.parametrize("role", FIELDS)
def test_a_container_knows_the_image_that_a_patch_gives_it(template: Any, role: str) -> None:
    """`run.json` in the run's folder names it."""
    patch = {"spec": {"containers": [{"name": MAIN[role], "image": "mine@sha256:1"}]}}
    found = named(template(role, patch)["spec"]["containers"], MAIN[role])
    assert named(found["env"], "SEA_IMAGE")["value"] == found["image"] == "mine@sha256:1"


def test_no_patch_changes_nothing(template: Any, make: Any) -> None:
    job = make.job()
    made = objects(job, job.spec, full_size(job.spec), Images(), token_digest("t"), {})
    assert template("trainer", {}) == made[5]["spec"]["template"]
    assert template("trainer", {"metadata": {}, "spec": {}}) == made[5]["spec"]["template"]


def test_sources_of_variables_are_added_before_ours(template: Any) -> None:
    theirs = {"configMapRef": {"name": "c"}}
    patch = {"spec": {"containers": [{"name": "trainer", "envFrom": [theirs]}]}}
    (trainer,) = template("trainer", patch)["spec"]["containers"]
    assert trainer["envFrom"] == [theirs, {"secretRef": {"name": "s3"}}]


def test_pods_on_the_nodes_network_still_find_the_coordinator(template: Any) -> None:
    spec = template("trainer", {"spec": {"hostNetwork": True}})["spec"]
    assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
    own = {"spec": {"hostNetwork": True, "dnsPolicy": "Default"}}
    assert template("trainer", own)["spec"]["dnsPolicy"] == "Default"
    assert "dnsPolicy" not in template("trainer", {"spec": {"hostNetwork": False}})["spec"]


def test_what_the_server_would_drop_is_left_out(template: Any) -> None:
    patch = {
        "hostPID": False,
        "automountServiceAccountToken": False,
        "containers": [{"name": "mine", "tty": False, "env": [{"name": "E", "value": ""}]}],
    }
    spec = template("trainer", {"spec": patch})["spec"]
    assert "hostPID" not in spec
    assert spec["automountServiceAccountToken"] is False
    assert named(spec["containers"], "mine") == {"name": "mine", "env": [{"name": "E"}]}


def of_trainer(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "trainer", **fields}]}}


PORT = {"containerPort": 8081, "name": "other"}
DELETED = {"name": "trainer", "$patch": "delete"}


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"spec": {"containers": [DELETED]}}, "spec.containers[trainer] can't be patched"),
        ({"spec": {"containers": [{"$patch": "replace"}]}}, "spec.containers[trainer] can't be"),
        ({"spec": {"$patch": "replace"}}, "spec.volumes[data] can't be patched"),
        ({"spec": {"volumes": [{"$patch": "replace"}]}}, "spec.volumes[data] can't be patched"),
        (of_trainer(ports=[PORT]), "spec.containers[trainer].ports can't be patched"),
        (of_trainer(env=[{"$patch": "replace"}]), "spec.containers[trainer].env[SEA_JOB] can't"),
        (of_trainer(env=None), "spec.containers[trainer].env[SEA_JOB] can't"),
        (
            of_trainer(volumeMounts=[{"mountPath": "/sea/data", "name": "x"}]),
            "spec.containers[trainer].volumeMounts[/sea/data] can't be patched",
        ),
        (
            of_trainer(resources={"limits": {"nvidia.com/gpu": 1}}),
            "spec.containers[trainer].resources.limits[nvidia.com/gpu] can't be patched: set gpusP",
        ),
    ],
)
def test_what_wires_the_pods_is_refused_with_field_and_advice(
    template: Any, patch: Any, says: str
) -> None:
    with pytest.raises(PatchRefusedError) as caught:
        template("trainer", patch)
    assert str(caught.value).startswith(f"spec.trainer.template.patch.{says}")


def test_a_refused_patch_stalls_the_job_before_any_pod_is_made(make: Any) -> None:
    spec = make.spec(trainer={"template": {"patch": {"spec": {"$patch": "replace"}}}})
    secrets = make.observed().secrets
    observed = Observed(make.job(spec=spec), secrets=secrets, token=make.token)
    plan = decide(observed, make.context())
    assert (plan.applies, plan.removals, plan.send) == ((), (), False)
    assert plan.lifecycle.blocker is not None
    assert plan.lifecycle.blocker.reason == "PodPatchRefused"
    assert "spec.trainer.template.patch.spec.volumes[data]" in plan.lifecycle.blocker.message


def test_the_api_knows_the_operators_containers_and_volumes(make: Any) -> None:
    job = make.job(spec=make.spec(trainer={"gpusPerPod": 8}))
    made = objects(job, job.spec, full_size(job.spec), Images(), token_digest("t"), {})
    pods = [child["spec"]["template"]["spec"] for child in made if child["kind"] == "StatefulSet"]
    assert {one["name"] for pod in pods for one in pod["containers"]} == set(OUR_CONTAINERS)
    assert {one["name"] for pod in pods for one in pod["volumes"]} == set(OUR_VOLUMES)
