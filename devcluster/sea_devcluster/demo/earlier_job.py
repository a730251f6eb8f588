"""A job of the same name that is in the cluster already: its result is not this run's.

A devcluster is fresh for each demo; the user's own cluster keeps the job of the first run, to which
applying the same manifest again changes nothing.
"""

import json
from typing import Any

from sea_devcluster.demo import job
from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.kubectl import Kubectl

CRD = "seatrainingjobs.sea-operator.io"
_OVER = {"Complete": "is complete", "Failed": "has failed"}


def require_none(kubectl: Kubectl, manifest: dict[str, Any]) -> None:
    """Looks before anything is installed, uploaded or applied.

    Raises:
        DemoError: The job is there; says how to look at it and how to make room.
    """
    if not kubectl.run("get", "crd", CRD, "--ignore-not-found", "-o", "name").strip():
        return
    namespace, name = job.namespace(manifest), str(manifest["metadata"]["name"])
    found = kubectl.run("-n", namespace, "get", CRD, name, "--ignore-not-found", "-o", "json")
    if found.strip():
        raise DemoError(refusal(json.loads(found), namespace, name))


def refusal(found: dict[str, Any], namespace: str, name: str) -> str:
    """The sentence for a job that is there."""
    return (
        f"The job {name} of an earlier run is in the namespace {namespace} already and "
        f"{_state(found)}: the demo would show its result as this run's. Look at it with `kubectl "
        f"-n {namespace} get seajob {name}`; for a new run delete it (what it wrote stays in the "
        f"object store): `kubectl -n {namespace} delete seajob {name}`."
    )


def _state(found: dict[str, Any]) -> str:
    if found["metadata"].get("deletionTimestamp"):
        return "is being deleted"
    for condition in found.get("status", {}).get("conditions") or []:
        if condition["type"] in _OVER and condition["status"] == "True":
            return _OVER[condition["type"]]
    return "is not over"
