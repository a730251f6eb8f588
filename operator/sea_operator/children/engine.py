"""Pods with a vLLM engine and a worker beside it: rollout and user model differ in few words."""

from typing import Any

from sea_api.contract import ENGINE_PORT, WORKER_PORT
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import Rollout, UserModel
from sea_operator.children import env
from sea_operator.children.container import container, resources
from sea_operator.children.pod import pod_template, volumes
from sea_operator.children.probes import probes
from sea_operator.observed import Job

Object = dict[str, Any]

STREAMS = {Role.ROLLOUT: "policy", Role.USER: "user"}


def template(job: Job, spec: Spec, role: Role, image: str, token_digest: str) -> Object:
    """Pod template of `Rollout` or `User`."""
    settings = _settings(spec, role)
    pod, gpus = settings.template, settings.gpus_per_pod
    variables = _variables(job, spec, role, gpus)
    keys = env.endpoint_keys(spec) if role is Role.ROLLOUT else []
    shared: Object = {
        "image": pod.image or image,
        "env_from": env.credentials(spec),
        "shm": gpus > 0,
    }
    engine = container(
        "engine",
        "sea_runtime.rollout.engine",
        env=env.merged(variables, pod),
        ports={"engine": ENGINE_PORT},
        probes=probes(
            ENGINE_PORT, alive="/health", ready="/health", patience=3600 if gpus else 600
        ),
        resources=resources(pod, gpus),
        **shared,
    )
    worker = container(
        "worker",
        "sea_runtime.rollout.worker",
        env=env.merged([*variables, *keys], pod),
        ports={"worker": WORKER_PORT},
        probes=probes(WORKER_PORT),
        **shared,
    )
    return pod_template(
        job.name,
        role,
        [engine, worker],
        volumes(gpus=gpus),
        template=pod,
        scheduling=spec.scheduling,
        token_digest=token_digest,
    )


def _settings(spec: Spec, role: Role) -> Rollout | UserModel:
    return spec.rollout if role is Role.ROLLOUT else spec.user_model


def _variables(job: Job, spec: Spec, role: Role, gpus: int) -> list[env.Var]:
    cpu = [] if gpus else env.on_cpu()
    return [*env.common(job, spec, role), *env.engine(STREAMS[role], gpus), *cpu]
