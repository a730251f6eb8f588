"""The field reference `docs/reference/seatrainingjob.md`, derived from the CRD's schema."""

import json
from collections.abc import Iterator

from sea_api.crd import COLUMNS, root_schema
from sea_api.schema import Schema
from sea_api.v1alpha1.edits import SENTENCES, Effect
from sea_api.v1alpha1.names import GROUP, KIND, SHORT_NAME, VERSION
from sea_api.v1alpha1.rules import CEL_KEY

_EFFECTS = "\n".join(
    f"- *{effect}*: {meaning}"
    for effect, meaning in {
        Effect.NEXT_STEP: "it holds within seconds, from the next optimizer step, batch, group or"
        " episode on. Nothing restarts, except a Synthesis stage that runs.",
        Effect.NEXT_STAGE: "it holds if the stage has not begun, and is refused once it has.",
        Effect.NEW_ATTEMPT: "the pods that read the field are replaced, engines one by one; the"
        " trainer goes on from its newest checkpoint in a new attempt.",
        Effect.IMMUTABLE: "it is refused. So is any edit of a stage that has ended.",
    }.items()
)

_HEAD = f"""# {KIND}

`{GROUP}/{VERSION}`, namespaced, short name `{SHORT_NAME}`. Generated from `crds/sea_api` by
`make crds`; don't edit. Fields without a default and not marked *required* are optional.

`kubectl scale seajob NAME --replicas=N` sets `spec.rollout.replicas`.

## Edits of a running job

The column *edit* says when an edit of the field takes effect. `status.lastEdit` and an Event say
which fields changed last, and from which step of which stage they hold.

{_EFFECTS}
"""


def render() -> str:
    """The page: one table of fields per object, its rules below it, printer columns at the end."""
    schema = root_schema()
    sections = [
        section
        for name in ("spec", "status")
        for section in _sections(name, schema["properties"][name])
    ]
    rules = _rules("the job", schema)
    return "\n".join([_HEAD, *([rules] if rules else []), *sections, _columns()]) + "\n"


def _sections(path: str, schema: Schema) -> Iterator[str]:
    required = set(schema.get("required", []))
    edits = path.startswith("spec")
    rows = [
        _row(name, field, required=name in required, edits=edits)
        for name, field in schema["properties"].items()
    ]
    columns = ["field", "type", "default", *(["edit"] if edits else []), "meaning"]
    table = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *rows]
    head = [f"## `{path}`", "", schema.get("description", ""), "", *table, ""]
    yield "\n".join(head) + _rules("these fields", schema)
    for name, field in schema["properties"].items():
        inner, suffix = _object_below(field)
        if inner is not None:
            yield from _sections(f"{path}.{name}{suffix}", inner)


def _object_below(field: Schema) -> tuple[Schema | None, str]:
    if field.get("type") == "array" and "properties" in field["items"]:
        return field["items"], "[]"
    return (field, "") if "properties" in field else (None, "")


def _row(name: str, field: Schema, *, required: bool, edits: bool) -> str:
    text, edit = _edit(field)
    meaning = [
        _one_line(text),
        *_bounds(field),
        *_sentences(field),
        *_bounds_of_items(field),
    ]
    default = "*required*" if required else _default(field)
    cells = [f"`{name}`", _type(field), default, *([edit] if edits else [])]
    return f"| {' | '.join([*cells, ' '.join(filter(None, meaning))])} |"


def _edit(field: Schema) -> tuple[str, str]:
    """The description without the sentence about edits, and the class that the sentence is of."""
    text = field.get("description", "")
    for effect, sentence in SENTENCES.items():
        if text.endswith(sentence):
            return text.removesuffix(sentence).strip(), effect
    return text, ""


def _type(field: Schema) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "x-kubernetes-int-or-string" in field:
        return "quantity"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    return str(field.get("type", "any"))


def _default(field: Schema) -> str:
    if "default" not in field or "properties" in field:
        return ""
    return f"`{json.dumps(field['default'])}`"


def _bounds(field: Schema) -> Iterator[str]:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None and "x-kubernetes-int-or-string" not in field:
        opening = ">" if field.get("exclusiveMinimum") else ">="
        closing = "<" if field.get("exclusiveMaximum") else "<="
        yield f"{opening} {low}, {closing} {high}."
    if "maxLength" in field:
        yield f"At most {field['maxLength']} characters."
    if "maxItems" in field:
        yield f"At most {field['maxItems']} items."


def _bounds_of_items(field: Schema) -> Iterator[str]:
    items = field.get("items", {})
    if "properties" not in items and "enum" not in items and items:
        yield "Each: " + " ".join([*_bounds(items), *_sentences(items)])


def _sentences(field: Schema) -> Iterator[str]:
    """The rules of a text or map; those of an object are listed below its table."""
    if "properties" not in field:
        for given in dict.fromkeys(rule["message"] for rule in field.get(CEL_KEY, [])):
            message = _one_line(given)
            yield f"{message[0].upper()}{message[1:]}."


def _rules(subject: str, schema: Schema) -> str:
    # A rule that ratchets is two in the schema.
    rules = dict.fromkeys(rule["message"] for rule in schema.get(CEL_KEY, []))
    if not rules:
        return ""
    return "\n".join(["", f"Rules about {subject}:", "", *(f"- {one}." for one in rules), ""])


def _columns() -> str:
    rows = [
        f"| {c['name']} | {'wide' if 'priority' in c else ''} | {c['description']} |"
        for c in COLUMNS
    ]
    head = ["## Columns of `kubectl get`", "", "| column | shown | meaning |", "|---|---|---|"]
    return "\n".join([*head, *rows])


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
