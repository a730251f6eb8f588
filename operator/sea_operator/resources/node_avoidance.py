"""Node anti-affinity of a StatefulSet's new pods, for nodes on which its pods failed. Pure.

Preferred, not required: where no other node has room, a node that failed twice is better than none,
and the restart budget bounds how often that is tried.
"""

from collections.abc import Sequence
from typing import Any

Object = dict[str, Any]
WEIGHT = 100
"""The largest that Kubernetes takes."""


def avoiding(child: Object, nodes: Sequence[str]) -> Object:
    """The StatefulSet with a preference of its pods for all nodes but `nodes`, next to those that
    its template has."""
    template = child["spec"]["template"]
    affinity = template["spec"].get("affinity") or {}
    node = affinity.get("nodeAffinity") or {}
    kept = node.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    # One requirement per node, all of which a node must meet: the API server refuses a field
    # selector with more than one value.
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [one]} for one in nodes]
    term = {"weight": WEIGHT, "preference": {"matchFields": fields}}
    preferred = [*(one for one in kept if not _is_ours(one)), term]
    node = {**node, "preferredDuringSchedulingIgnoredDuringExecution": preferred}
    pod = {**template["spec"], "affinity": {**affinity, "nodeAffinity": node}}
    return {**child, "spec": {**child["spec"], "template": {**template, "spec": pod}}}


def _is_ours(term: Object) -> bool:
    """A template that is kept from the live StatefulSet has an earlier one of ours."""
    fields = term.get("preference", {}).get("matchFields") or []
    return any(one.get("key") == "metadata.name" for one in fields)
