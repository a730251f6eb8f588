"""Bounded building blocks of the models: strict numbers, addresses, names, labels, quantities.

Strict, because the API server doesn't convert `"8"` to 8 either. Every string, list and map has a
bound, which keeps the API server's cost estimate of the CEL rules finite.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

from sea_api.v1alpha1.rules import Rule

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

S3Url = Annotated[str, Field(max_length=1024, pattern=r"^s3://.+$")]
HttpUrl = Annotated[str, Field(max_length=1024, pattern=r"^https?://.+$")]
ModelSource = Annotated[str, Field(max_length=1024, pattern=r"^(s3://.+|hf://.+|builtin:tiny)$")]
ObjectName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
]
LabelKey = Annotated[
    str, Field(min_length=1, max_length=316, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$")
]
LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$")
]
Manager = Annotated[
    str, Field(max_length=63, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9._-]+$")
]
"""Domain, slash and name of a controller, as other jobs' `managedBy`."""
Timestamp = Annotated[str, Field(max_length=64)]
"""RFC 3339 in UTC."""


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

Quantity = Annotated[
    str,
    Field(max_length=32, pattern=_QUANTITY),
    BeforeValidator(_number_as_text),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "minimum": 0,
            "pattern": _QUANTITY,
        }
    ),
]
"""An amount as Kubernetes writes it (`8`, `500m`, `64Gi`); a bare integer is read as text."""

_BOUNDED_KEYS = Rule(
    cel="self.all(key, size(key) >= 1 && size(key) <= 316)",
    message="a key of this map is empty or longer than 316 characters: use a valid name",
    holds=lambda value: all(1 <= len(key) <= 316 for key in value),
)

Labels = Annotated[dict[str, LabelValue], Field(max_length=16), _BOUNDED_KEYS]
Resources = Annotated[dict[str, Quantity], Field(max_length=16), _BOUNDED_KEYS]
