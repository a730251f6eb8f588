"""From a pydantic model to the structural OpenAPI v3 schema that a CRD may hold.

The API server rejects some of what pydantic writes and silently ignores other keywords, which
would drop a check unnoticed. So every keyword is either rewritten here or refused with the path of
the field. Verified against Kubernetes 1.36.
"""

import re
from typing import Any

from pydantic import BaseModel

from sea_api.v1alpha1.rules import CEL_KEY, RATCHETS_KEY, ratcheting

Schema = dict[str, Any]

_CARRIED = frozenset(
    {
        "default",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maximum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "minimum",
        "minItems",
        "minLength",
        "minProperties",
        "multipleOf",
        "pattern",
        "required",
        "type",
    }
)
_NOT_RE2 = re.compile(r"\(\?<?[=!]|\\Z|\\[1-9]")
PRESERVING = "x-kubernetes-preserve-unknown-fields"
_ANYTHING: Schema = {PRESERVING: True}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]


class SchemaError(ValueError):
    """A model uses something that a structural schema can't express; names field and reason."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """The model's schema with references inlined and nothing left that the API server rejects.

    Raises:
        SchemaError: the model can't be expressed.
    """
    raw = model.model_json_schema(by_alias=True)
    written = _Rewriter(raw.get("$defs", {})).rewrite(raw, model.__name__, ())
    _settle_rules(written, has_predecessor=True)
    return written


class _Rewriter:
    """Walks one schema; `path` names the field for messages, `open_refs` finds recursion."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def rewrite(self, node: Schema, path: str, open_refs: tuple[str, ...]) -> Schema:
        node, open_refs = self._inline(node, path, open_refs)
        alternatives = [option for option in node.pop("anyOf", []) if option != {"type": "null"}]
        if len(alternatives) == 1:
            # The field's own keywords (description, default) win over those
            # of the type it refers to.
            merged = {**alternatives[0], **node}
            return self.rewrite(merged, path, open_refs)
        out: Schema = {}
        if alternatives:
            out |= _int_or_string(alternatives, path)
        for key, value in node.items():
            out |= self._keyword(key, value, path, open_refs)
        _drop_null_default(out)
        # A structural schema needs a type everywhere; int-or-string is the one exception.
        if "type" not in out and "x-kubernetes-int-or-string" not in out:
            out |= _typed_by_enum(out) or _ANYTHING
        return out

    def _inline(
        self, node: Schema, path: str, open_refs: tuple[str, ...]
    ) -> tuple[Schema, tuple[str, ...]]:
        node = dict(node)
        while reference := node.pop("$ref", None):
            if reference in open_refs:
                raise SchemaError(f"{path} contains itself, which a CRD can't express: flatten it")
            open_refs = (*open_refs, reference)
            # A field may refer to a type that is itself a reference.
            node = {**self._definitions[reference.removeprefix("#/$defs/")], **node}
        return node, open_refs

    def _keyword(self, key: str, value: Any, path: str, open_refs: tuple[str, ...]) -> Schema:
        match key:
            case "title" | "$defs":
                return {}
            case "properties":
                return {key: self._properties(value, path, open_refs)}
            case "items":
                return {key: self.rewrite(value, f"{path}[]", open_refs)}
            case "additionalProperties":
                return self._additional(value, path, open_refs)
        return _scalar_keyword(key, value, path)

    def _properties(self, fields: Schema, path: str, open_refs: tuple[str, ...]) -> Schema:
        return {
            name: self.rewrite(field, f"{path}.{name}", open_refs) for name, field in fields.items()
        }

    def _additional(self, value: Any, path: str, open_refs: tuple[str, ...]) -> Schema:
        if value is False:
            return {}  # the server prunes unknown fields anyway
        if value is True or value == {}:
            return dict(_ANYTHING)
        return {"additionalProperties": self.rewrite(value, f"{path}{{}}", open_refs)}


def _settle_rules(node: Schema, *, has_predecessor: bool) -> None:
    """Writes rules about whole objects as those that may be broken by what broke them before.

    `has_predecessor`: whether the API server can tell an object's predecessor. It doesn't within a
    list without keys, where there is no `oldSelf`; there only a list that stays as it is may go on
    breaking a rule.
    """
    if CEL_KEY in node:
        rules = node[CEL_KEY]
        node[CEL_KEY] = [one for rule in rules for one in _settled(rule, has_predecessor)]
    for field in node.get("properties", {}).values():
        _settle_rules(field, has_predecessor=has_predecessor)
    if isinstance(inner := node.get("additionalProperties"), dict):
        _settle_rules(inner, has_predecessor=has_predecessor)
    if "items" in node:
        has_keys = node.get("x-kubernetes-list-type") == "map"
        _settle_rules(node["items"], has_predecessor=has_predecessor and has_keys)


def _settled(rule: Schema, has_predecessor: bool) -> list[Schema]:
    plain = {key: value for key, value in rule.items() if key != RATCHETS_KEY}
    if RATCHETS_KEY not in rule or not has_predecessor:
        return [plain]
    first, later = ratcheting(rule["rule"])
    return [{**plain, "rule": first, "optionalOldSelf": True}, {**plain, "rule": later}]


def _scalar_keyword(key: str, value: Any, path: str) -> Schema:
    match key:
        case "const":
            return {"enum": [value]}
        case "exclusiveMinimum":
            # OpenAPI v3.0 has a flag next to `minimum`, JSON Schema 2020 a number of its own.
            return {"minimum": value, "exclusiveMinimum": True}
        case "exclusiveMaximum":
            return {"maximum": value, "exclusiveMaximum": True}
        case "uniqueItems":
            return {"x-kubernetes-list-type": "set"}
        case "pattern" if _NOT_RE2.search(value):
            raise SchemaError(
                f"{path} has the pattern {value!r}, but the server's RE2 knows no lookaround,"
                " back-reference or \\Z: write it without"
            )
        case _ if key in _CARRIED or key.startswith("x-kubernetes-"):
            return {key: value}
    raise SchemaError(
        f"{path} uses the JSON schema keyword {key!r}, which a CRD can't express: use a simpler"
        " type, or add the rewrite here"
    )


def _int_or_string(alternatives: list[Schema], path: str) -> Schema:
    if alternatives == _INT_OR_STRING:
        return {"anyOf": alternatives, "x-kubernetes-int-or-string": True}
    raise SchemaError(
        f"{path} is a union, which a CRD can't express: use an enum that names the variant and one"
        " optional field for each"
    )


def _typed_by_enum(out: Schema) -> Schema | None:
    if "enum" in out and all(isinstance(value, str) for value in out["enum"]):
        return {"type": "string"}
    return None


def _drop_null_default(out: Schema) -> None:
    if "default" in out:
        if out["default"] is None:
            del out["default"]
        else:
            out["default"] = _without_nulls(out["default"])


def _without_nulls(value: Any) -> Any:
    """The server rejects an undeclared null; an absent field means the same."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
