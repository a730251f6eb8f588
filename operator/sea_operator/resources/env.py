"""Environment of the job's pods; what the user set in a template wins over all of it."""

from collections.abc import Iterable
from typing import Any

from sea_api.contract import (
    CA_DIR,
    DATA_DIR,
    OPENAI_API_KEY,
    S3_ADDRESSING,
    S3_CA_BUNDLE,
    S3_ENDPOINT_URL,
    S3_REGION,
    Env,
    auth_secret,
    coordinator_url,
    role_label,
    synthesis_key,
)
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.pods import PodTemplate
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import UserEngine
from sea_operator.observed import Job

Var = dict[str, Any]


def common(job: Job, spec: Spec, role: Role) -> list[Var]:
    """Variables of every pod of a job."""
    return [
        _var(Env.JOB, job.name),
        _var(Env.NAMESPACE, job.namespace),
        _var(Env.JOB_UID, job.uid),
        _var(Env.ROLE, role_label(role)),
        _token(job),
        _var(Env.COORDINATOR_URL, coordinator_url(job.name, job.namespace)),
        _field(Env.POD_NAME, "metadata.name"),
        _field(Env.POD_IP, "status.podIP"),
        *_storage(spec),
        _var(Env.DATA_DIR, DATA_DIR),
        # Libraries cache below HOME; the root file system isn't theirs to write.
        _var("HOME", DATA_DIR),
    ]


def on_cpu() -> list[Var]:
    """Pods without GPUs share few cores: one thread each, unless the template says otherwise."""
    return [_var("OMP_NUM_THREADS", "1")]


def engine(stream: str, gpus_per_pod: int) -> list[Var]:
    """Additional variables of rollout and user-model pods; `stream` is `policy` or `user`."""
    cpu = [_var("VLLM_CPU_KVCACHE_SPACE", "1"), _var("VLLM_CPU_OMP_THREADS_BIND", "nobind")]
    return [
        _var(Env.STREAM, stream),
        _var(Env.GPUS_PER_POD, str(gpus_per_pod)),
        *(cpu if gpus_per_pod == 0 else []),
    ]


def rollout(spec: Spec) -> list[Var]:
    """Variables of both engine and worker of a rollout pod: they must agree on them."""
    replay = [_var(Env.ROUTER_REPLAY, "1")] if spec.rollout.router_replay else []
    return [_var(Env.MAX_EPISODES, str(spec.rollout.max_episodes)), *replay]


def endpoint_keys(spec: Spec) -> list[Var]:
    """Keys of the endpoints that a rollout worker talks to: user model and judge.

    By name, not by `envFrom`: both Secrets have the same key.
    """
    user, judge = spec.user_model, spec.verifier.judge
    external = user.api_key_secret if user.engine is UserEngine.EXTERNAL else None
    wanted = {
        Env.USER_API_KEY: external,
        Env.JUDGE_API_KEY: judge.api_key_secret if judge else None,
    }
    return [_secret(name, secret, OPENAI_API_KEY) for name, secret in wanted.items() if secret]


def synthesis_keys(spec: Spec) -> list[Var]:
    """Keys of the endpoints that Synthesis stages talk to, a variable for each stage."""
    secrets = {
        stage.name: stage.synthesis.endpoint.api_key_secret
        for stage in spec.stages
        if stage.synthesis is not None and stage.synthesis.endpoint is not None
    }
    return [
        _secret(synthesis_key(stage), secret, OPENAI_API_KEY)
        for stage, secret in secrets.items()
        if secret
    ]


def trainer(gpus_per_pod: int) -> list[Var]:
    """Additional variables of trainer pods."""
    return [
        _var(Env.PROCESSES_PER_POD, str(max(1, gpus_per_pod))),
        # Its value is the pod's own, which a patch may change (`pod.py`).
        _var(Env.GRACE_SECONDS, "0"),
    ]


def merged(variables: Iterable[Var], template: PodTemplate) -> list[Var]:
    """Variables by name, in order, the template's last and winning."""
    own = [_var(var.name, var.value) for var in template.env]
    return list({var["name"]: var for var in [*variables, *own]}.values())


def credentials(spec: Spec) -> list[dict[str, Any]]:
    """`envFrom` of all containers: S3 keys, where a Secret holds them."""
    name = spec.storage.credentials_secret
    return [{"secretRef": {"name": name}}] if name else []


def _storage(spec: Spec) -> list[Var]:
    endpoint = spec.storage.endpoint
    bundle, addressing = spec.storage.ca_bundle, spec.storage.addressing
    values = {
        S3_ENDPOINT_URL: endpoint,
        S3_REGION: spec.storage.region,
        S3_CA_BUNDLE: f"{CA_DIR}/{bundle.key}" if bundle else None,
        S3_ADDRESSING: addressing,
    }
    return [_var(name, value) for name, value in values.items() if value]


def _token(job: Job) -> Var:
    return _secret(Env.TOKEN, auth_secret(job.name), "token")


def _secret(name: str, secret: str, key: str) -> Var:
    return {"name": str(name), "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _field(name: str, path: str) -> Var:
    return {"name": str(name), "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _var(name: str, value: str) -> Var:
    # Omit empty values: the API server drops them, which would look like drift.
    return {"name": str(name), **({"value": value} if value else {})}
