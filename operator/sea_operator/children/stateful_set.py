"""The StatefulSet of a role: stable names, all pods at once, replaced only when we delete them."""

from typing import Any

from sea_api.contract import role_name, selected_by
from sea_api.v1alpha1.policy import Role
from sea_operator.children.meta import metadata
from sea_operator.observed import Job

Object = dict[str, Any]


def stateful_set(
    job: Job,
    role: Role,
    replicas: int,
    template: Object,
    claims: list[Object] | None = None,
) -> Object:
    """Desired StatefulSet; its claims, if any, vanish with it."""
    name = role_name(job.name, role)
    spec: Object = {
        "replicas": replicas,
        "serviceName": name,
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},
        "selector": {"matchLabels": selected_by(job.name, role)},
        "template": template,
    }
    if claims:
        spec["volumeClaimTemplates"] = claims
        retention = {"whenDeleted": "Delete", "whenScaled": "Retain"}
        spec["persistentVolumeClaimRetentionPolicy"] = retention
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(job, name, role),
        "spec": spec,
    }
