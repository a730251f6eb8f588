"""What the operator's ServiceAccount must be allowed, verb by verb; a test compares manifests.

Secrets are read by name and created, never listed or watched. Events are listed where a StatefulSet
lacks pods: nothing else says why they are refused. Pods are never created: StatefulSets
make them. Their logs are read before they go (`log_keeper.py`). Status is its own subresource;
`spec` is never written, so the job itself needs no write.
"""

from dataclasses import dataclass

from sea_api.v1alpha1.job import GROUP, PLURAL

WATCH = ("get", "list", "watch")
APPLY = ("create", "patch")


@dataclass(frozen=True)
class Rule:
    """One rule of a Role or ClusterRole."""

    group: str
    resource: str
    verbs: tuple[str, ...]


JOBS = (
    Rule(GROUP, PLURAL, WATCH),
    Rule(GROUP, f"{PLURAL}/status", ("patch",)),
    Rule("apps", "statefulsets", (*WATCH, *APPLY, "delete")),
    Rule("", "services", (*WATCH, *APPLY, "delete")),
    Rule("policy", "poddisruptionbudgets", (*WATCH, *APPLY, "delete")),
    Rule("", "pods", (*WATCH, "delete")),
    Rule("", "pods/log", ("get",)),
    Rule("", "secrets", ("get", "create")),
    Rule("", "events", ("list", "create")),
)
"""In every namespace whose jobs the operator serves: a Role each, or one ClusterRole."""

CLUSTER = (Rule("", "nodes", ("get", "list")),)
"""Optional: without it pods on dead nodes aren't force-deleted, and the plan of a job knows only
the GPUs that its node selectors name."""

OWN_NAMESPACE = (Rule("coordination.k8s.io", "leases", ("get", "create", "update")),)
"""In the operator's namespace: leader election."""
