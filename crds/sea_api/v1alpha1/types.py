"""Bounded building blocks of the models: strict numbers, names, labels, quantities.

Strict, because the API server doesn't convert `"8"` to 8 either. Every string, list and map has a
bound, which keeps the API server's cost estimate of the CEL rules finite.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

from sea_api.v1alpha1 import forms
from sea_api.v1alpha1.rules import CEL_KEY, Rule

_EXACT = 2**53 - 1
"""Largest integer that survives a JSON reader with 64-bit floats."""

Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
Number = Annotated[float, Strict()]

Count = Annotated[int, Strict(), Field(ge=0, le=_EXACT)]
Percent = Annotated[float, Strict(), Field(ge=0, le=100)]
Seed = Annotated[int, Strict(), Field(ge=0, le=2147483647)]
Steps = Annotated[int, Strict(), Field(ge=1, le=100000000)]
Replicas = Annotated[int, Strict(), Field(ge=1, le=10000)]
GpusPerPod = Annotated[int, Strict(), Field(ge=0, le=64)]
Ways = Annotated[int, Strict(), Field(ge=1, le=1024)]
"""Number of parts that one dimension of a parallel layout splits the work into."""

_HOTTEST = Rule(
    cel="self <= 2.0",
    message="must be at most 2, the most that chat servers take: lower it",
    holds=lambda temperature: temperature <= 2,
)
Temperature = Annotated[float, Strict(), Field(ge=0, le=10), _HOTTEST]
"""A rule and no bound of 2, since jobs of release 0.1.0 may have up to 10."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253), forms.OBJECT_NAME]
LabelKey = Annotated[str, Field(min_length=1, max_length=316), forms.LABEL_KEY]
LabelValue = Annotated[str, Field(max_length=63), forms.LABEL_VALUE]
Manager = Annotated[str, Field(max_length=63), forms.MANAGER]
"""Domain, slash and name of a controller, as other jobs' `managedBy`."""
Timestamp = Annotated[str, Field(max_length=64)]
"""RFC 3339 in UTC."""


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    Field(max_length=32),
    forms.QUANTITY,
    BeforeValidator(_number_as_text),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "minimum": 0,
            CEL_KEY: [{"rule": forms.QUANTITY.cel, "message": forms.QUANTITY.message}],
        }
    ),
]
"""An amount as Kubernetes writes it (`8`, `500m`, `64Gi`); a bare integer is read as text."""

Labels = Annotated[dict[str, LabelValue], Field(max_length=16), forms.LABEL_KEYS]
Resources = Annotated[dict[str, Quantity], Field(max_length=16), forms.RESOURCE_NAMES]
