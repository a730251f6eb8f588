"""The coordinator's pod: one container, and a volume for the ledger."""

from typing import Any

from sea_api.contract import COORDINATOR_PORT
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.policy import Role
from sea_operator.children import env
from sea_operator.children.container import container, resources
from sea_operator.children.pod import pod_template, volumes
from sea_operator.children.probes import probes
from sea_operator.observed import Job

Object = dict[str, Any]


def template(job: Job, spec: Spec, image: str, token_digest: str) -> Object:
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
        claimed=claimed,
    )


def claims(spec: Spec) -> list[Object]:
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
