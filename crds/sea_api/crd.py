"""The CustomResourceDefinition of SEATrainingJob: names, columns, subresources and schema."""

from typing import Any

import yaml

from sea_api.schema import Schema, structural_schema
from sea_api.v1alpha1.job import SEATrainingJob
from sea_api.v1alpha1.names import GROUP, KIND, PLURAL, SHORT_NAME, VERSION

NAME = f"{PLURAL}.{GROUP}"

_API_VERSION = "Version of the API that this object is written in."
_KIND_FIELD = "Kind of this object."


def _column(name: str, kind: str, path: str, description: str, *, wide: bool = False) -> Schema:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | ({"priority": 1} if wide else {})


COLUMNS = [
    _column("State", "string", ".status.state", "What the job does, and what it waits for"),
    _column("Stage", "string", ".status.stage", "Stage that runs or ran last"),
    _column("Step", "string", ".status.progress", "Steps done and total steps"),
    _column("Reward", "number", ".status.reward", "Mean reward of the newest batch"),
    _column("Pass^1", "string", ".status.pass1", "Newest pass^1 in percent"),
    _column("Weights", "integer", ".status.weights.published", "Newest weight version"),
    _column(
        "Ready",
        "string",
        '.status.conditions[?(@.type=="Ready")].status',
        "Whether the job runs as desired, is suspended or complete",
    ),
    _column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why", wide=True),
    _column(
        "Warning",
        "string",
        '.status.conditions[?(@.type=="SpecWarning")].reason',
        "What is odd about the spec, such as FieldsDropped; `kubectl describe` says it in full",
        wide=True,
    ),
    _column(
        "Checkpoint Stage",
        "string",
        ".status.checkpoint.stage",
        "Stage of the newest checkpoint",
        wide=True,
    ),
    _column(
        "Checkpoint",
        "integer",
        ".status.checkpoint.step",
        "Step of the newest checkpoint",
        wide=True,
    ),
    _column("Saved", "date", ".status.checkpoint.time", "Age of the newest checkpoint", wide=True),
    _column("Staleness", "number", ".status.staleness", "Versions that a batch lagged", wide=True),
    _column("Goodput", "string", ".status.goodput", "Useful share of the time", wide=True),
    _column("Restarts", "integer", ".status.restarts.counted", "Counted restarts", wide=True),
    _column("Age", "date", ".metadata.creationTimestamp", "Age of the job"),
]


def root_schema() -> Schema:
    """Schema of the complete object; the server owns apiVersion, kind and metadata."""
    schema = structural_schema(SEATrainingJob)
    schema["properties"] |= {
        "apiVersion": {"type": "string", "description": _API_VERSION},
        "kind": {"type": "string", "description": _KIND_FIELD},
        "metadata": {"type": "object"},
    }
    return schema


def custom_resource_definition() -> dict[str, Any]:
    """The complete CRD."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": COLUMNS,
        "schema": {"openAPIV3Schema": root_schema()},
        "subresources": {
            "status": {},
            "scale": {
                # An autoscaler acts on the engines: the trainer's size is fixed within an attempt.
                "specReplicasPath": ".spec.rollout.replicas",
                "statusReplicasPath": ".status.roles.rollout.ready",
                "labelSelectorPath": ".status.rolloutSelector",
            },
        },
    }
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": [SHORT_NAME],
        # `kubectl get all` lists the jobs next to their pods.
        "categories": ["all"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


class _PlainDumper(yaml.SafeDumper):
    """Writes shared subtrees out: YAML anchors are hard to read for people and for kubectl."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(document: Any) -> str:
    """Deterministic YAML without anchors, keys in the order given."""
    text: str = yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, width=100)
    return text
