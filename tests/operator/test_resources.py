"""The objects of a job, field by field where the other parts depend on it."""

import hashlib
import json
from typing import Any

import pytest

from sea_api.contract import coordinator_url
from sea_api.v1alpha1.policy import Role
from sea_operator.resources.build import objects, token_digest, token_of, token_secret
from sea_operator.resources.pod import digest
from sea_operator.resources.role_settings import full_size, roles
from sea_operator.settings import Images

IMAGES = Images(coordinator="coordinator:1", trainer="trainer:1", rollout="rollout:1")


@pytest.fixture
def build(make: Any) -> Any:
    """`build(**spec)` -> children by (kind, name)."""

    def run(**patch: Any) -> Any:
        job = make.job(spec=make.spec(**patch))
        made = objects(job, job.spec, full_size(job.spec), IMAGES, token_digest("t"), {})
        return {(child["kind"], child["metadata"]["name"]): child for child in made}

    return run


def pod(children: Any, role: Any) -> Any:
    return children["StatefulSet", f"j-{role}"]["spec"]["template"]


def containers(children: Any, role: Any) -> Any:
    return {found["name"]: found for found in pod(children, role)["spec"]["containers"]}


def env(container: Any) -> Any:
    return {var["name"]: var.get("value") for var in container["env"]}


def test_names_kinds_and_order(build: Any) -> None:
    assert list(build()) == [
        *(
            (kind, f"j-{role}")
            for kind in ("Service", "StatefulSet")
            for role in ("coordinator", "trainer", "rollout", "user")
        ),
        ("PodDisruptionBudget", "j-trainer"),
    ]
    assert ("StatefulSet", "j-user") not in build(userModel={"engine": "Scripted"})


def test_every_set_starts_all_pods_and_lets_us_replace_them(build: Any) -> None:
    for (kind, name), child in build().items():
        if kind == "StatefulSet":
            spec = child["spec"]
            assert spec["podManagementPolicy"] == "Parallel"
            assert spec["updateStrategy"] == {"type": "OnDelete"}
            assert spec["serviceName"] == name
            labels = spec["template"]["metadata"]["labels"]
            assert spec["selector"]["matchLabels"].items() <= labels.items()


def test_services_are_headless_and_publish_pods_before_they_are_ready(build: Any) -> None:
    for (kind, _), child in build().items():
        if kind == "Service":
            assert child["spec"]["clusterIP"] == "None"
            assert child["spec"]["publishNotReadyAddresses"] is True


@pytest.mark.parametrize(
    ("role", "names", "images"),
    [
        ("coordinator", {"coordinator": "sea_runtime.coordinator"}, "coordinator:1"),
        ("trainer", {"trainer": "sea_runtime.trainer"}, "trainer:1"),
        (
            "rollout",
            {"engine": "sea_runtime.rollout.engine", "worker": "sea_runtime.rollout.worker"},
            "rollout:1",
        ),
        (
            "user",
            {"engine": "sea_runtime.rollout.engine", "worker": "sea_runtime.rollout.worker"},
            "rollout:1",
        ),
    ],
)
def test_programs_and_images(build: Any, role: str, names: Any, images: str) -> None:
    found = containers(build(), role)
    assert {name: c["command"] for name, c in found.items()} == {
        name: ["python", "-m", module] for name, module in names.items()
    }
    assert {c["image"] for c in found.values()} == {images}


@pytest.mark.parametrize("role", ["coordinator", "trainer", "rollout", "user"])
def test_what_every_container_is_told(build: Any, make: Any, role: str) -> None:
    for container in containers(build(), role).values():
        told = env(container)
        assert told["SEA_JOB"] == "j"
        assert told["SEA_NAMESPACE"] == "n"
        assert told["SEA_JOB_UID"] == make.uid
        assert told["SEA_ROLE"] == role
        assert told["SEA_COORDINATOR_URL"] == coordinator_url("j", "n")
        assert told["SEA_DATA_DIR"] == "/sea/data"
        assert told["SEA_IMAGE"] == container["image"]
        assert {"SEA_TOKEN", "POD_NAME", "POD_IP", "AWS_DEFAULT_REGION"} <= set(told)
        assert "AWS_ENDPOINT_URL" not in told
        assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]
        assert len(told) == len(container["env"]), "no name twice"


def test_the_coordinators_address() -> None:
    assert coordinator_url("j", "n") == "http://j-coordinator-0.j-coordinator.n.svc:8080"


def test_what_a_role_is_told_on_top(build: Any) -> None:
    cpu = build()
    assert env(containers(cpu, "trainer")["trainer"])["SEA_PROCESSES_PER_POD"] == "1"
    engine = env(containers(cpu, "rollout")["engine"])
    assert (engine["SEA_STREAM"], engine["SEA_GPUS_PER_POD"]) == ("policy", "0")
    assert engine["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert env(containers(cpu, "user")["worker"])["SEA_STREAM"] == "user"
    gpu = build(trainer={"gpusPerPod": 8}, rollout={"gpusPerPod": 8})
    trainer = env(containers(gpu, "trainer")["trainer"])
    assert trainer["SEA_PROCESSES_PER_POD"] == "8"
    assert "OMP_NUM_THREADS" not in trainer
    assert "VLLM_CPU_KVCACHE_SPACE" not in env(containers(gpu, "rollout")["engine"])


def test_the_users_variables_win(build: Any) -> None:
    template = {"env": [{"name": "OMP_NUM_THREADS", "value": "2"}, {"name": "X", "value": "y"}]}
    told = env(containers(build(trainer={"template": template}), "trainer")["trainer"])
    assert (told["OMP_NUM_THREADS"], told["X"]) == ("2", "y")


def test_probes_look_where_the_programs_listen(build: Any) -> None:
    children = build()
    expected = {
        ("coordinator", "coordinator"): (8080, "/healthz", "/readyz"),
        ("trainer", "trainer"): (8081, "/healthz", "/readyz"),
        ("rollout", "engine"): (8000, "/health", "/health"),
        ("rollout", "worker"): (8082, "/healthz", "/readyz"),
    }
    for (role, name), (port, alive, ready) in expected.items():
        container = containers(children, role)[name]
        start, live, readiness = (
            container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")
        )
        assert (start["port"], start["path"]) == (port, alive)
        assert (live["path"], readiness["path"]) == (alive, ready)
        assert (container["startupProbe"]["periodSeconds"]) == 2
        assert (container["startupProbe"]["failureThreshold"]) == 300


def test_an_engine_of_a_large_model_has_an_hour_to_load_it(build: Any) -> None:
    """At 1 GB/s the 470 GB of a 235B model alone take eight minutes."""
    probe = containers(build(rollout={"gpusPerPod": 8}), "rollout")["engine"]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 3600


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 180),
        ({"trainer": {"gpusPerPod": 8}}, 1800),
        ({"checkpoint": {"graceSeconds": 77}}, 77),
        (
            {"trainer": {"template": {"patch": {"spec": {"terminationGracePeriodSeconds": 60}}}}},
            60,
        ),
    ],
)
def test_a_trainer_has_time_for_its_last_checkpoint_and_knows_how_much(
    build: Any, spec: dict[str, Any], seconds: int
) -> None:
    made = pod(build(**spec), "trainer")["spec"]
    assert made["terminationGracePeriodSeconds"] == seconds
    variables = {one["name"]: one.get("value") for one in made["containers"][0]["env"]}
    assert variables["SEA_GRACE_SECONDS"] == str(seconds)
    assert pod(build(**spec), "rollout")["spec"]["terminationGracePeriodSeconds"] == 30


def test_no_pod_has_privileges_or_a_token(build: Any) -> None:
    for role in ("coordinator", "trainer", "rollout", "user"):
        spec = pod(build(), role)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["terminationGracePeriodSeconds"] == (180 if role == "trainer" else 30)
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}


def test_gpus_and_shared_memory(build: Any) -> None:
    children = build(trainer={"gpusPerPod": 8, "template": {"requests": {"cpu": "4"}}})
    container = containers(children, "trainer")["trainer"]
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "64Gi", "nvidia.com/gpu": "8"},
        "limits": {"nvidia.com/gpu": "8"},
    }
    volumes = {volume["name"]: volume for volume in pod(children, "trainer")["spec"]["volumes"]}
    assert volumes["shm"] == {"name": "shm", "emptyDir": {"medium": "Memory"}}
    assert "shm" not in json.dumps(pod(build(), "trainer"))


def test_gpus_go_to_the_engine_alone(build: Any) -> None:
    found = containers(build(rollout={"gpusPerPod": 4}), "rollout")
    assert found["engine"]["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    assert "nvidia.com/gpu" not in json.dumps(found["worker"]["resources"])


ROLES = {
    "coordinator": ("coordinator", "coordinator"),
    "trainer": ("trainer", "trainer"),
    "rollout": ("rollout", "engine"),
    "user": ("userModel", "engine"),
}


@pytest.mark.parametrize("role", ROLES)
def test_every_container_requests_cpu_and_memory_by_itself(build: Any, role: str) -> None:
    """A quota on requests takes no pod without them."""
    for container in containers(build(), role).values():
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}


@pytest.mark.parametrize("role", ROLES)
def test_fields_reach_every_container(build: Any, role: str) -> None:
    """A quota on limits takes no pod one of whose containers has none."""
    field, main = ROLES[role]
    given = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
    has_worker = role in ("rollout", "user")
    worker = {"requests": {"cpu": "3"}, "limits": {"memory": "4Gi"}}
    patch = {"template": given, **({"worker": worker} if has_worker else {})}
    found = containers(build(**{field: patch}), role)
    assert found.pop(main)["resources"] == given
    assert {name: one["resources"] for name, one in found.items()} == (
        {"worker": worker} if has_worker else {}
    )
    untouched = containers(build(**{field: {"template": given}}), role)
    for one in untouched.values():
        assert set(one["resources"]["limits"]) == {"cpu", "memory"}


def test_a_limit_alone_is_the_request_too(build: Any) -> None:
    """A default request above a user's small limit would make the pod invalid."""
    found = containers(build(trainer={"template": {"limits": {"memory": "64Mi"}}}), "trainer")
    assert found["trainer"]["resources"] == {
        "requests": {"cpu": "100m"},
        "limits": {"memory": "64Mi"},
    }


def test_placement(build: Any) -> None:
    scheduling = {
        "priorityClassName": "high",
        "topology": "rail",
        "nodeSelector": {"pool": "a", "gpu": "h200"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    }
    children = build(scheduling=scheduling, rollout={"template": {"nodeSelector": {"pool": "b"}}})
    trainer, rollout = pod(children, "trainer"), pod(children, "rollout")
    assert trainer["spec"]["priorityClassName"] == "high"
    assert trainer["spec"]["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert rollout["spec"]["nodeSelector"] == {"pool": "b", "gpu": "h200"}
    (term,) = trainer["spec"]["affinity"]["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["topologyKey"] == "rail"
    assert term["labelSelector"]["matchLabels"]["sea-operator.io/role"] == "trainer"
    assert "affinity" not in rollout["spec"]


def test_the_ledger_gets_a_volume_where_asked_for(build: Any) -> None:
    children = build(coordinator={"storageClassName": "fast", "volumeSize": "5Gi"})
    spec = children["StatefulSet", "j-coordinator"]["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    assert spec["template"]["spec"]["volumes"] == []
    # A new volume is root's, and the pod isn't.
    assert spec["template"]["spec"]["securityContext"]["fsGroup"] == 65532
    assert "fsGroup" not in pod(build(), "coordinator")["spec"]["securityContext"]


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({"rollout": {"replicas": 4}}, set()),
        ({"data": {"sft": ["s3://b/x"]}}, set()),
        ({"trainer": {"template": {"image": "other:1"}}}, {"trainer"}),
        ({"storage": {"region": "eu"}}, {"coordinator", "trainer", "rollout", "user"}),
        ({"scheduling": {"topology": "rail"}}, {"trainer"}),
    ],
)
def test_only_what_pods_are_made_of_changes_their_hash(
    build: Any, patch: Any, changed: Any
) -> None:
    assert different(build(), build(**patch)) == changed


def different(before: Any, after: Any) -> set[str]:
    """Roles whose pods would be replaced."""
    label = "sea-operator.io/template-hash"
    return {
        role
        for role in ("coordinator", "trainer", "rollout", "user")
        if pod(before, role)["metadata"]["labels"][label]
        != pod(after, role)["metadata"]["labels"][label]
    }


@pytest.mark.parametrize(
    ("block", "role"), [("rollout", "rollout"), ("userModel", "user"), ("trainer", "trainer")]
)
def test_pods_of_another_layout_are_replaced(build: Any, block: str, role: str) -> None:
    """Engines ask for it when they start and never again; a trainer resumes in it."""
    one, two = (
        build(**{block: {"gpusPerPod": 2, "parallelism": {"expert": ways}}}) for ways in (1, 2)
    )
    assert different(one, two) == {role}


def test_a_rollout_pod_is_told_its_episodes_and_replaced_if_they_change(build: Any) -> None:
    before = build()
    assert env(containers(before, "rollout")["worker"])["SEA_MAX_EPISODES"] == "128"
    after = build(rollout={"maxEpisodes": 256})
    assert env(containers(after, "rollout")["engine"])["SEA_MAX_EPISODES"] == "256"
    assert different(before, after) == {"rollout"}


def test_engine_and_worker_of_a_rollout_pod_are_told_to_record_experts(build: Any) -> None:
    before, after = build(), build(rollout={"routerReplay": True})
    assert different(before, after) == {"rollout"}
    for container in containers(after, "rollout").values():
        assert env(container)["SEA_ROUTER_REPLAY"] == "1"
    for container in containers(before, "rollout").values():
        assert "SEA_ROUTER_REPLAY" not in env(container)


@pytest.mark.parametrize(
    ("bundle", "volume"),
    [
        ({"secretName": "ca", "key": "root.pem"}, {"secret": {"secretName": "ca"}}),
        ({"configMapName": "ca", "key": "root.pem"}, {"configMap": {"name": "ca"}}),
    ],
)
def test_a_bundle_of_certificates_reaches_every_container(
    build: Any, bundle: dict[str, str], volume: dict[str, Any]
) -> None:
    storage = {"url": "s3://bucket/x", "caBundle": bundle, "addressing": "VirtualHost"}
    children = build(storage=storage)
    for role in ("coordinator", "trainer", "rollout", "user"):
        assert {"name": "ca", **volume} in pod(children, role)["spec"]["volumes"]
        for container in containers(children, role).values():
            assert env(container)["AWS_CA_BUNDLE"] == "/etc/sea/ca/root.pem"
            assert env(container)["SEA_S3_ADDRESSING"] == "VirtualHost"
            mounts = [one["mountPath"] for one in container["volumeMounts"]]
            assert "/etc/sea/ca" in mounts


def test_another_token_makes_other_pods(make: Any) -> None:
    job = make.job()
    hashes = {
        json.dumps(objects(job, job.spec, {Role.TRAINER: 1}, IMAGES, token_digest(token), {}))
        for token in ("a", "b")
    }
    assert len(hashes) == 2


def test_the_secret_holds_the_token(make: Any) -> None:
    secret = token_secret(make.job(), "s3cret")
    assert token_of(secret) == "s3cret"
    assert token_of({}) is None
    assert "s3cret" not in json.dumps(secret)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == make.uid


def test_user_endpoint_and_judge_give_their_keys_to_the_rollout_worker_only(build: Any) -> None:
    user = {"engine": "External", "url": "http://x", "apiKeySecret": "openai"}
    judge = {"url": "http://y", "model": "m", "apiKeySecret": "judge"}
    found = containers(build(userModel=user, verifier={"judge": judge}), "rollout")
    keys = {
        variable["name"]: variable["valueFrom"]["secretKeyRef"]
        for variable in found["worker"]["env"]
        if variable["name"].endswith("_API_KEY")
    }
    assert keys == {
        "SEA_USER_API_KEY": {"name": "openai", "key": "OPENAI_API_KEY"},
        "SEA_JUDGE_API_KEY": {"name": "judge", "key": "OPENAI_API_KEY"},
    }
    assert "_API_KEY" not in str(found["engine"])


def test_the_coordinator_comes_first(make: Any) -> None:
    assert roles(make.spec())[0] is Role.COORDINATOR


def test_objects_are_made_once_per_spec_whatever_the_status(make: Any) -> None:
    """A job that starts has several passes within seconds, and only its status differs."""

    def made(job: Any) -> Any:
        return objects(job, job.spec, full_size(job.spec), IMAGES, token_digest("t"), {})

    spec = make.spec()
    first, later = make.job(spec=spec), make.job(spec=spec, status=make.status())
    assert all(one is other for one, other in zip(made(first), made(later), strict=True))
    renamed = make.job(spec=spec, name="k")
    assert made(renamed)[0]["metadata"]["name"] == "k-coordinator"
    edited = make.job(spec=make.spec(trainer={"replicas": 3}))
    assert made(edited)[5]["spec"]["replicas"] == 3


@pytest.mark.parametrize("text", ["plain", 'tab\t and \x7f " \\ /', "caf\u00e9 \U0001f3d6", ""])
def test_the_hash_of_a_template_is_that_of_every_earlier_release(text: str) -> None:
    """With another one all running jobs would wait for an update that changes nothing."""
    value = {"b": [1, True, None, text], "a": {"z": text, "y": {}}}
    whole = json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert digest(value) == hashlib.sha256(whole.encode()).hexdigest()[:16]
