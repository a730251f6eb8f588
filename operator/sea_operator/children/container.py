"""One container of a job's pod: program, ports, probes, resources, and no privileges."""

from typing import Any

from sea_api.contract import DATA_DIR
from sea_api.v1alpha1.roles import PodTemplate
from sea_operator.children.env import Var
from sea_operator.children.probes import Probes

GPU = "nvidia.com/gpu"

Object = dict[str, Any]

SECURITY: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


def container(
    name: str,
    module: str,
    image: str,
    *,
    env: list[Var],
    env_from: list[Object],
    ports: dict[str, int],
    probes: Probes,
    resources: Object | None = None,
    shm: bool = False,
) -> Object:
    """A container that runs `python -m MODULE`."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", module],
        "env": env,
        "envFrom": env_from,
        "ports": [_port(name, number) for name, number in ports.items()],
        **probes,
        "resources": resources or {},
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": "data", "mountPath": DATA_DIR},
            *([{"name": "shm", "mountPath": "/dev/shm"}] if shm else []),  # noqa: S108
        ],
    }


def resources(template: PodTemplate, gpus: int) -> Object:
    """Requests and limits of a role's main container; GPUs are in both, as Kubernetes wants."""
    gpu = {GPU: str(gpus)} if gpus else {}
    both = {"requests": {**template.requests, **gpu}, "limits": {**template.limits, **gpu}}
    return {key: amounts for key, amounts in both.items() if amounts}


def _port(name: str, number: int) -> Object:
    return {"name": name, "containerPort": number, "protocol": "TCP"}
