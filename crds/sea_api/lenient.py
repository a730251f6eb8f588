"""Reads what another release wrote: unknown fields are left out, broken rules are let pass.

During an upgrade or a rollback, operator, CRD and running pods are of different releases. The
models themselves refuse unknown fields and what breaks a rule, since in what a person wrote they
are mistakes. What is left out or let pass is named.
"""

import copy
import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator

from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.rules import unchecked

log = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Read(Generic[M]):
    """What could be read."""

    value: M
    ignored: tuple[Path, ...] = ()
    """Fields that were left out."""
    broken: ValidationError | None = None
    """The rules that were let pass, which `findings` puts into words."""


def read_admitted(model: type[M], stored: Mapping[str, Any]) -> Read[M]:
    """As `read`, for an object that another release may have admitted by other rules."""
    try:
        return read(model, stored)
    except ValidationError as error:
        with unchecked():
            found = read(model, stored)
        return Read(found.value, found.ignored, error)


def read(model: type[M], stored: Mapping[str, Any]) -> Read[M]:
    """Validates without unknown fields. Raises `ValidationError` for everything else."""
    try:
        return Read(model.model_validate(stored))
    except ValidationError as error:
        unknown = unknown_fields(error)
        if not unknown:
            raise
    legible = without(stored, unknown)
    return Read(model.model_validate(legible), unknown)


def unknown_fields(error: ValidationError) -> tuple[Path, ...]:
    """Paths of the fields that the model doesn't have."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(one["loc"] for one in details if one["type"] == "extra_forbidden")


def without(stored: Mapping[str, Any], paths: tuple[Path, ...]) -> dict[str, Any]:
    """A copy that lacks the fields at `paths`."""
    result = copy.deepcopy(dict(stored))
    for path in paths:
        _remove(result, path)
    return result


def text(path: Path) -> str:
    """`stages[0].rl.steps`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def _remove(stored: Any, path: Path) -> None:
    *above, last = path
    for step in above:
        # The parent may be gone already, since a field of its own was unknown.
        if isinstance(stored, dict) and step not in stored:
            return
        stored = stored[step]
    stored.pop(last, None)


class IgnoresUnknown(BaseModel):
    """What programs of a job that may be of different releases tell each other or store.

    A running job keeps its pods while the operator is upgraded, and a role whose image is edited is
    newer than the others. Unknown fields are ignored, at any depth and with one warning each; what
    is known must be right. Rules are not checked: a job was judged when it was admitted.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _without_unknown(cls, data: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        with unchecked():
            try:
                return handler(data)
            except ValidationError as error:
                unknown = unknown_fields(error)
                if not unknown or not isinstance(data, dict):
                    raise
            for path in unknown:
                _warn(cls.__name__, ".".join(step for step in path if isinstance(step, str)))
            return handler(without(data, unknown))


class OfAnyRelease(IgnoresUnknown, ApiModel):
    """A message between operator and coordinator."""


@functools.cache
def _warn(message: str, field: str) -> None:
    """Once per process: messages come every second."""
    log.warning("%s has a field of another release, which is ignored: %s", message, field)
