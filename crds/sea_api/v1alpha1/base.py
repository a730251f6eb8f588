"""What all models of the resource share: camelCase on the wire, frozen, nothing unknown, rules."""

from collections.abc import Iterator
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sea_api.v1alpha1.rules import Rule, Transition, with_validations


def wire_name(field: str) -> str:
    """camelCase, with acronyms in one case as Kubernetes writes them: `user_sft` is `userSFT`."""
    return to_camel(field).replace("Sft", "SFT")


class BrokenRulesError(ValueError):
    """All rules that an object breaks, so that one edit can correct them."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


class ApiModel(BaseModel):
    """A piece of the resource: immutable, camelCase in YAML, descriptions from docstrings."""

    model_config = ConfigDict(
        alias_generator=wire_name,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    invariants: ClassVar[tuple[Rule, ...]] = ()
    """Rules of one object; checked here and, as CEL, by the API server."""
    transitions: ClassVar[tuple[Transition, ...]] = ()
    """Rules of an edit, between an object and its predecessor; see `refused_changes`."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """Treats an explicit null as absent, as the server's pruning does."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        broken = [rule.message for rule in self.invariants if not rule.holds(self)]
        if broken:
            raise BrokenRulesError(broken)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        json_schema = handler(schema)
        # The rules belong to the definition, not to the `$ref` that pydantic returns here.
        target = handler.resolve_ref_schema(json_schema)
        target.update(with_validations(target, [*cls.invariants, *cls.transitions]))
        return json_schema


def refused_changes(old: ApiModel, new: ApiModel) -> list[str]:
    """Messages of the rules that the edit from `old` to `new` breaks; empty means allowed.

    Like the API server, it compares an object with its own predecessor only: a block that was
    added or removed has none.
    """
    own = [rule.message for rule in new.transitions if not rule.holds(new, old)]
    return own + [message for pair in _children(old, new) for message in refused_changes(*pair)]


def _children(old: ApiModel, new: ApiModel) -> Iterator[tuple[ApiModel, ApiModel]]:
    for name in type(new).model_fields:
        before: Any = getattr(old, name)
        after: Any = getattr(new, name)
        if isinstance(before, ApiModel) and isinstance(after, ApiModel):
            yield before, after
