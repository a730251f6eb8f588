"""What is wrong with a job, one sentence per finding, with the path of the field.

The same sentences wherever Python checks a job: `sea job check` in a file, the operator in what the
API server holds. The API server's own check (the CRD's schema and rules) is generated from the same
models.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sea_api.unknown_fields import Path, dotted, schema_at, unknown_fields
from sea_api.v1alpha1.base import BrokenRulesError
from sea_api.v1alpha1.forms import matching
from sea_api.v1alpha1.job import GROUP, KIND, VERSION, SEATrainingJob

API_VERSION = f"{GROUP}/{VERSION}"

_HABITS = {"grpo": "RL", "ppo": "RL", "openai": "External", "eval": "Evaluation"}
"""What people write for a value of ours, in lower case."""


_is_label = matching("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Finding:
    """One problem of a job."""

    path: Path
    sentence: str
    """What is wrong and what to do, without the path."""

    def __str__(self) -> str:
        return f"{dotted(self.path) or 'the job'}: {self.sentence}"


def problems(manifest: Mapping[str, Any]) -> list[Finding]:
    """Everything that the API server or strict validation refuses, unknown fields first."""
    found = [Finding(unknown.path, unknown.sentence) for unknown in unknown_fields(manifest)]
    found += _names(manifest)
    # A copy from `kubectl get -o yaml` has a status, which a client may not set anyway.
    written = {key: value for key, value in manifest.items() if key != "status"}
    try:
        SEATrainingJob.model_validate(written)
    except ValidationError as error:
        # Unknown fields are found above, with the field that was meant.
        details = [d for d in error.errors(include_url=False) if d["type"] != "extra_forbidden"]
        found += [one for detail in details for one in findings(detail)]
    return list(dict.fromkeys(found))


def findings(detail: ErrorDetails, below: Path = ()) -> list[Finding]:
    """A finding of pydantic as sentences; `below`: where the validated model stands in the job."""
    path = (*below, *detail["loc"])
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, BrokenRulesError):
        # The rules of the whole object are about its name, and begin with it.
        path = path or ("metadata", "name")
        return [Finding(path, text.removeprefix(f"{dotted(path)} ")) for text in error.messages]
    return [Finding(path, _sentence(detail, path))]


def nulls(value: Any, path: Path = ()) -> list[Path]:
    """Fields that are named and left empty: they mean the same as if they weren't there."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return [path] if value is None else []
    return [found for step, inner in items for found in nulls(inner, (*path, step))]


def _names(manifest: Mapping[str, Any]) -> list[Finding]:
    """What only the API server knows of any object, and the models therefore don't."""
    found = []
    if manifest.get("apiVersion") != API_VERSION:
        found.append(_instead(manifest, "apiVersion", API_VERSION))
    if manifest.get("kind") != KIND:
        found.append(_instead(manifest, "kind", KIND))
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        found.append(Finding(("metadata", "name"), "the job has no name: add one"))
        return found
    namespace = metadata.get("namespace", "default")
    if not isinstance(namespace, str) or not _is_label(namespace):
        sentence = "a namespace's name is a DNS label (a-z, 0-9 and -): correct it"
        found.append(Finding(("metadata", "namespace"), sentence))
    for field in ("labels", "annotations"):
        given = metadata.get(field) or {}
        texts = isinstance(given, dict) and all(isinstance(text, str) for text in given.values())
        if not texts:
            sentence = "must be a map of texts: put numbers and true or false in quotes"
            found.append(Finding(("metadata", field), sentence))
    return found


def _instead(manifest: Mapping[str, Any], field: str, right: str) -> Finding:
    return Finding((field,), f"must be {right}, not {manifest.get(field)!r}: correct it")


def _sentence(detail: ErrorDetails, path: Path) -> str:
    # By pydantic's type of error, which is part of its interface; its messages are not.
    kind, given = detail["type"], detail["input"]
    if kind in _SENTENCES:
        return _SENTENCES[kind](given)
    bounds = detail.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return "there is no such field: remove it"
        case "missing":
            return "is required: add it"
        case "enum":
            return _one_of(given, schema_at(path).get("enum", []))
        case "greater_than_equal" | "greater_than":
            more = "more than" if kind == "greater_than" else "at least"
            return f"must be {more} {bounds.get('ge', bounds.get('gt'))}, not {given}: raise it"
        case "less_than_equal" | "less_than":
            less = "less than" if kind == "less_than" else "at most"
            return f"must be {less} {bounds.get('le', bounds.get('lt'))}, not {given}: lower it"
        case "too_short" | "string_too_short":
            return f"must have at least {_many(bounds['min_length'], kind)}: add what is missing"
        case "too_long" | "string_too_long":
            return f"must have at most {_many(bounds['max_length'], kind)}: shorten it"
    return detail["msg"].removeprefix("Value error, ")


def _many(number: int, kind: str) -> str:
    noun = "character" if kind.startswith("string") else "item"
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _one_of(given: Any, allowed: list[str]) -> str:
    lower = {value.lower(): value for value in allowed}
    close = difflib.get_close_matches(str(given).lower(), lower, n=1, cutoff=0.6)
    habit = _HABITS.get(str(given).lower())
    found = habit if habit in allowed else lower[close[0]] if close else None
    meant = f"write {found}" if found else "choose one"
    return f"must be one of {', '.join(allowed)}, not {given!r}: {meant}"


def _whole(given: Any) -> str:
    if isinstance(given, str):
        return _unquote("a whole number", given)
    return f"must be a whole number, not {_shown(given)}: correct it"


def _number(given: Any) -> str:
    if isinstance(given, str):
        return _unquote("a number", given)
    return f"must be a number, not {_shown(given)}: correct it"


def _unquote(what: str, given: str) -> str:
    try:
        float(given)
    except ValueError:
        return f"must be {what} without a unit, not {given!r}: write it in digits"
    return f"must be {what}, not the text {given!r}: remove the quotes"


def _truth(given: Any) -> str:
    return f"must be true or false, not {_shown(given)}: write it without quotes"


def _text(given: Any) -> str:
    if isinstance(given, dict | list):
        return f"must be one text, not {_shown(given)}: give the text alone"
    return f"must be a text, not {_shown(given)}: put it in quotes"


def _list(given: Any) -> str:
    if isinstance(given, dict):
        return "must be a list, not a map: begin each item with '- '"
    return f"must be a list, not {_shown(given)}: put it in brackets, [...]"


def _map(given: Any) -> str:
    return f"must be a map of fields, not {_shown(given)}: set its fields below it"


def _shown(given: Any) -> str:
    match given:
        case dict():
            return "a map"
        case list():
            return "a list"
        case bool():
            return str(given).lower()
    return repr(given)


_SENTENCES: dict[str, Callable[[Any], str]] = {
    "int_type": _whole,
    "int_from_float": _whole,
    "float_type": _number,
    "finite_number": _number,
    "bool_type": _truth,
    "string_type": _text,
    "list_type": _list,
    "dict_type": _map,
    "model_type": _map,
    "model_attributes_type": _map,
}
"""By pydantic's type of error."""
