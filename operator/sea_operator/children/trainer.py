"""The trainer's pods: one supervisor each, which starts the training processes."""

from typing import Any

from sea_api.contract import TRAINER_HEALTH_PORT
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.children import env
from sea_operator.children.container import container, resources
from sea_operator.children.pod import pod_template, volumes
from sea_operator.children.probes import probes
from sea_operator.observed import Job


def template(job: Job, spec: Spec, image: str, token_digest: str) -> dict[str, Any]:
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
    )
