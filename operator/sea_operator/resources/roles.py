"""The pods of each role: coordinator, trainer, and engines for rollout and user model."""

from typing import Any

from sea_api.contract import COORDINATOR_PORT, ENGINE_PORT, TRAINER_HEALTH_PORT, WORKER_PORT
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_api.v1alpha1.roles import Rollout, UserModel
from sea_operator.observed import Job
from sea_operator.resources import env
from sea_operator.resources.pod import (
    container,
    pod_template,
    probes,
    resources,
    trainer_grace,
    volumes,
    worker_resources,
)

Object = dict[str, Any]

STREAMS = {Role.ROLLOUT: "policy", Role.USER: "user"}
"""Stream of weight versions that an engine serves."""


def coordinator_template(job: Job, spec: Spec, image: str, token_digest: str) -> Object:
    """Pod template of the coordinator."""
    pod = spec.coordinator.template
    variables = [
        *env.common(job, spec, Role.COORDINATOR),
        *env.on_cpu(),
        *env.synthesis_keys(spec),
    ]
    main = container(
        "coordinator",
        "sea_runtime.coordinator",
        pod.image or image,
        env=env.merged(variables, pod),
        env_from=env.credentials(spec),
        ports={"http": COORDINATOR_PORT},
        probes=probes(COORDINATOR_PORT),
        resources=resources(pod, gpus=0),
    )
    claimed = spec.coordinator.storage_class_name is not None
    scratch = volumes(gpus=0, data=not claimed)
    return pod_template(
        job.name,
        Role.COORDINATOR,
        [main],
        scratch,
        template=pod,
        scheduling=spec.scheduling,
        token_digest=token_digest,
        ca_bundle=spec.storage.ca_bundle,
        claimed=claimed,
    )


def coordinator_claims(spec: Spec) -> list[Object]:
    """The ledger's volume, where the job asks for one."""
    storage_class = spec.coordinator.storage_class_name
    if storage_class is None:
        return []
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": spec.coordinator.volume_size}},
    }
    return [{"metadata": {"name": "data"}, "spec": claim}]


def trainer_template(job: Job, spec: Spec, image: str, token_digest: str) -> Object:
    """Pod template of the trainer."""
    pod, gpus = spec.trainer.template, spec.trainer.gpus_per_pod
    cpu = [] if gpus else env.on_cpu()
    variables = [*env.common(job, spec, Role.TRAINER), *env.trainer(gpus), *cpu]
    main = container(
        "trainer",
        "sea_runtime.trainer",
        pod.image or image,
        env=env.merged(variables, pod),
        env_from=env.credentials(spec),
        ports={"health": TRAINER_HEALTH_PORT},
        probes=probes(TRAINER_HEALTH_PORT),
        resources=resources(pod, gpus),
        shm=gpus > 0,
    )
    return pod_template(
        job.name,
        Role.TRAINER,
        [main],
        volumes(gpus=gpus),
        template=pod,
        scheduling=spec.scheduling,
        token_digest=token_digest,
        ca_bundle=spec.storage.ca_bundle,
        grace=trainer_grace(gpus, spec.checkpoint.grace_seconds),
        parallelism=spec.trainer.parallelism,
    )


def engine_template(job: Job, spec: Spec, role: Role, image: str, token_digest: str) -> Object:
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
        probes=probes(ENGINE_PORT, alive="/health", ready="/health", startup=3600 if gpus else 600),
        resources=resources(pod, gpus),
        **shared,
    )
    worker = container(
        "worker",
        "sea_runtime.rollout.worker",
        env=env.merged([*variables, *keys], pod),
        ports={"worker": WORKER_PORT},
        probes=probes(WORKER_PORT),
        resources=worker_resources(settings.worker),
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
        ca_bundle=spec.storage.ca_bundle,
        parallelism=settings.parallelism,
    )


def _settings(spec: Spec, role: Role) -> Rollout | UserModel:
    return spec.rollout if role is Role.ROLLOUT else spec.user_model


def _variables(job: Job, spec: Spec, role: Role, gpus: int) -> list[env.Var]:
    cpu = [] if gpus else env.on_cpu()
    more = env.rollout(spec) if role is Role.ROLLOUT else []
    return [*env.common(job, spec, role), *env.engine(STREAMS[role], gpus), *more, *cpu]
