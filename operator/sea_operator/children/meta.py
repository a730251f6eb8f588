"""Metadata of children: our labels and the owner; nothing is copied from the job."""

from typing import Any

from sea_api.contract import JOB_LABEL, labels
from sea_api.v1alpha1.job import GROUP, KIND, VERSION
from sea_api.v1alpha1.policy import Role
from sea_operator.observed import Job


def metadata(job: Job, name: str, role: Role | None) -> dict[str, Any]:
    """`role` None: an object of the job as a whole."""
    own = {JOB_LABEL: job.name, "app.kubernetes.io/managed-by": "sea-operator"}
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": labels(job.name, role) if role else own,
        "ownerReferences": [owner(job)],
    }


def owner(job: Job) -> dict[str, Any]:
    """The reference that lets the garbage collector take the child with its job."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": job.name,
        "uid": job.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
