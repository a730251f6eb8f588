"""What all models of the resource share: camelCase on the wire, frozen, nothing unknown, rules."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sea_api.v1alpha1.rules import Rule, Transition, with_validations


def wire_name(field: str) -> str:
    """camelCase, with acronyms in one case as Kubernetes writes them: `user_sft` is `userSFT`."""
    return to_camel(field).replace("Sft", "SFT")


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
    """What must hold of one object; checked here and, as CEL, by the API server."""
    transitions: ClassVar[tuple[Transition, ...]] = ()
    """What must hold between an object and its predecessor; see `sea_api.v1alpha1.changes`."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """As the server prunes them: an explicit null where a default exists takes the default."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        broken = [rule.message for rule in self.invariants if not rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        json_schema = handler(schema)
        target = handler.resolve_ref_schema(json_schema)
        target.update(with_validations(target, [*cls.invariants, *cls.transitions]))
        return json_schema
