"""Rules in two languages: CEL for the API server and the same check in Python.

Models carry `Rule`s (about one object) and `Transition`s (about an object and what it was
before). `base.ApiModel` checks the Python half on validation and writes the CEL half into the JSON
schema, from which `sea_api.schema` takes it into the CRD.

A rule that a release adds must not stop jobs that an earlier one admitted. The API server refuses
only what breaks a rule for the first time (`ratcheting`), and what is stored, or sent between the
programs of a job, is read without rules (`unchecked`).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

CEL_KEY = "x-kubernetes-validations"
RATCHETS_KEY = "x-sea-ratchets"
"""Marks a rule about a whole object on its way to `sea_api.schema`, where it becomes the argument
of `ratcheting`, wherever the API server knows an object's predecessor."""

_checked: ContextVar[bool] = ContextVar("checked", default=True)


@contextmanager
def unchecked() -> Iterator[None]:
    """No rule is checked in this block: its objects were admitted already, perhaps by the rules of
    another release. Types, bounds and unknown fields are checked as ever."""
    token = _checked.set(False)
    try:
        yield
    finally:
        _checked.reset(token)


def are_checked() -> bool:
    """False within `unchecked`."""
    return _checked.get()


def ratcheting(cel: str) -> tuple[str, str]:
    """Two rules, of which an object that breaks `cel` may go on doing so if its predecessor did.

    The API server by itself forgives only values that don't change. An object changes with any of
    its fields: without this, a job that breaks a rule of a later release could not even be
    suspended. The first is for objects without a predecessor and needs `optionalOldSelf`, the
    second for all others. One for both would cost too much in the eyes of the API server, which
    doesn't know how long the lists and texts of an optional `oldSelf` may be.
    """
    before = re.sub(r"\bself\b", "oldSelf", cel)
    return f"oldSelf.hasValue() || ({cel})", f"({cel}) || !({before})"


@dataclass(frozen=True)
class Rule:
    """What must hold of a value. On a model class, or in `Annotated[...]` on a field."""

    cel: str | None
    """None if a list type already makes the server check the same."""
    message: str
    """A sentence without line breaks: what is wrong and what to change."""
    holds: Callable[[Any], bool]

    def check(self, value: Any) -> Any:
        """Returns `value`; raises ValueError with the message if the rule is broken."""
        if are_checked() and not self.holds(value):
            raise ValueError(self.message)
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return with_validations(handler(schema), [self])


@dataclass(frozen=True)
class Transition:
    """What must hold between a value and its predecessor (`self` and `oldSelf` in CEL)."""

    cel: str
    message: str
    holds: Callable[[Any, Any], bool]
    """Called with (new, old)."""


def immutable(field: str, attribute: str, advice: str, *, optional: bool = False) -> Transition:
    """Rule of a field that never changes once the object exists.

    Args:
        optional: it has no default, so that it is neither added nor removed either.
    """
    same = f"self.{field} == oldSelf.{field}"
    # CEL fails on a look at an absent field: `has` must come first.
    absent = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    return Transition(
        cel=absent if optional else same,
        message=f"{field} is immutable: {advice}",
        holds=lambda new, old: getattr(new, attribute) == getattr(old, attribute),
    )


def with_validations(
    schema: JsonSchemaValue, rules: Iterable[Rule | Transition], *, ratchets: bool = False
) -> JsonSchemaValue:
    """The schema with the CEL half of `rules` appended."""
    mark = {RATCHETS_KEY: True} if ratchets else {}
    added = [{"rule": rule.cel, "message": rule.message, **mark} for rule in rules if rule.cel]
    return {**schema, CEL_KEY: [*schema.get(CEL_KEY, []), *added]} if added else schema
