"""What all models of the resource share: camelCase on the wire, frozen, nothing unknown, rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from sea_api.v1alpha1.edits import NEXT_STEP, SENTENCES, Edits, Effect
from sea_api.v1alpha1.rules import Rule, Transition, are_checked, with_validations


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
    ratchets: ClassVar[bool] = True
    """Whether an object that broke an invariant before may go on doing so (`rules.ratcheting`).
    False where no release ever admitted one: each such rule makes the CRD longer."""
    transitions: ClassVar[tuple[Transition, ...]] = ()
    """Rules of an edit, between an object and its predecessor; see `refused_changes`."""
    edits: ClassVar[Edits] = NEXT_STEP
    """When an edit of each field takes effect. Every model of the spec says it itself."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        """Treats an explicit null as absent, as the server's pruning does."""
        # An instance, or a value of a wrong type, which pydantic reports in its own words.
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if not are_checked():
            return self
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
        target.update(with_validations(target, cls.invariants, ratchets=cls.ratchets))
        target.update(with_validations(target, cls.transitions))
        cls._say_when_edits_hold(target)
        return json_schema

    @classmethod
    def _say_when_edits_hold(cls, schema: JsonSchemaValue) -> None:
        """Ends the descriptions of the model's own fields with the sentence of their class."""
        if not _says_edits(cls):
            return
        for name in cls.model_fields:
            field = schema["properties"][wire_name(name)]
            # A field of another model: that one's own fields say it.
            if model_of(cls, name) is None:
                text = field.get("description", "")
                field["description"] = f"{text} {SENTENCES[cls.edits.of(name)]}".strip()


def _says_edits(model: type[ApiModel]) -> bool:
    return any("edits" in vars(part) for part in model.__mro__ if part is not ApiModel)


def model_of(model: type[ApiModel], field: str) -> type[ApiModel] | None:
    """The model that a field holds, or lists; None if it holds plain values."""
    annotation = model.model_fields[field].annotation
    inner = [annotation, *get_args(annotation)]
    found = (one for one in inner if isinstance(one, type) and issubclass(one, ApiModel))
    return next(found, None)


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


@dataclass(frozen=True)
class Change:
    """A field that an edit changed."""

    path: str
    """Below the object that was edited, as in `stages[rl].rl.learningRate`."""
    effect: Effect
    item: str = ""
    """Name of the outermost list item that the field is part of (`rl`), if any."""


def changes(old: ApiModel, new: ApiModel, path: str = "", item: str = "") -> Iterator[Change]:
    """The fields that differ, and when each takes effect; items of lists are matched by name."""
    for name in type(new).model_fields:
        before: Any = getattr(old, name)
        after: Any = getattr(new, name)
        if before == after:
            continue
        place = f"{path}.{wire_name(name)}" if path else wire_name(name)
        if isinstance(before, ApiModel) and isinstance(after, ApiModel):
            found = list(changes(before, after, place, item))
            # Fields that an open model takes without naming them: the field as a whole.
            yield from found or [Change(place, type(new).edits.of(name), item)]
        elif _named(before) and _named(after):
            yield from _of_items(before, after, place, item, type(new).edits.of(name))
        else:
            yield Change(place, type(new).edits.of(name), item)


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(hasattr(one, "name") for one in value)


def _of_items(
    old: list[Any], new: list[Any], path: str, item: str, effect: Effect
) -> Iterator[Change]:
    before, after = ({one.name: one for one in items} for items in (old, new))
    for name in dict.fromkeys([*before, *after]):
        place = f"{path}[{name}]"
        if name in before and name in after:
            yield from changes(before[name], after[name], place, item or name)
        else:
            yield Change(place, effect, item or name)
