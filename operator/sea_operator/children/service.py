"""The headless Service of a role: its pods' names resolve before the pods are Ready."""

from typing import Any

from sea_api.contract import (
    COORDINATOR_PORT,
    ENGINE_PORT,
    TRAINER_HEALTH_PORT,
    WORKER_PORT,
    role_name,
    selected_by,
)
from sea_api.v1alpha1.policy import Role
from sea_operator.children.meta import metadata
from sea_operator.observed import Job

PORTS: dict[Role, dict[str, int]] = {
    Role.COORDINATOR: {"http": COORDINATOR_PORT},
    Role.TRAINER: {"health": TRAINER_HEALTH_PORT},
    Role.ROLLOUT: {"engine": ENGINE_PORT, "worker": WORKER_PORT},
    Role.USER: {"engine": ENGINE_PORT, "worker": WORKER_PORT},
}


def service(job: Job, role: Role) -> dict[str, Any]:
    """Desired Service, named as the role's StatefulSet."""
    ports = [_port(name, number) for name, number in PORTS[role].items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, role_name(job.name, role), role),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selected_by(job.name, role),
            "ports": ports,
        },
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": "TCP", "targetPort": number}
