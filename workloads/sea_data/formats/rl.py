"""Task rows: the published `rl` layout (criteria as a JSON string) and tau2's own tasks.

The coordinator reads files with `read`; a worker gets a row in its lease and calls `task`. Writers
of data sets call `task_row`.
"""

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sea_data.errors import RowError
from sea_data.formats import database_files, jsonl, row_fields
from sea_data.formats.row_fields import typed_field
from sea_env.tasks.task import DEFAULT_BASIS, Action, Assertion, Criteria, Task
from sea_env.tokens import plain_json

BASES = ("DB", "ENV_ASSERTION", "ACTION", "COMMUNICATE", "NL_ASSERTION", "FUNCTION")
_SIDES = ("assistant", "user")
_MAX_FUNCTION = 65536
"""Characters."""


def read(data: Iterable[bytes], file: str, domain: str = "") -> Iterator[Task | RowError]:
    """Every non-blank line as a task, or as an error with file, line, field and reason.

    `data` is the file's lines, such as an open binary file. `domain` is for rows that name none.
    """
    for number, row in jsonl.objects(data, file):
        if isinstance(row, RowError):
            yield row
            continue
        try:
            yield task(row, domain, key=f"{file}:{number}")
        except RowError as error:
            yield error.at(file, number)


def task(row: Mapping[str, Any], domain: str = "", key: str = "") -> Task:
    """One row as a Task, its criteria a string or an object; raises RowError naming the field."""
    row_id = row.get("id")
    if not isinstance(row_id, str | int) or row_id == "":
        raise RowError("id", "must be a non-empty string")
    criteria = _object(row, "evaluation_criteria")
    scenario = row_fields.user_scenario(row)
    path = row.get("db_path")
    if path is not None:
        database_files.check_path(path)
    parsed = {**row, "evaluation_criteria": criteria}
    return Task(
        id=str(row_id),
        key=key or str(row_id),
        domain=_domain(str(row_id), row, scenario, domain),
        scenario=scenario,
        criteria=_criteria(criteria),
        db_path=path,
        initial_state=_present(typed_field(row, "initial_state", dict)),
        row=parsed,
        verification_function=_function(row, criteria),
    )


def _present(state: Mapping[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in state.items() if value} or None


def _object(row: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = row.get(field)
    if isinstance(value, str):
        try:
            value = plain_json.loads(value)
        except ValueError as error:
            raise RowError(field, f"is a string that isn't JSON: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RowError(field, "must be an object, or a JSON string that holds one")
    return value


def _domain(row_id: str, row: Mapping[str, Any], scenario: Mapping[str, Any], given: str) -> str:
    found = row_fields.domain_of(row_id, row, scenario, given)
    if not found or not isinstance(found, str):
        raise RowError(
            "user_scenario.instructions.domain", "names no domain, and neither does the id"
        )
    return found


def _criteria(given: Mapping[str, Any]) -> Criteria:
    place = "evaluation_criteria."
    basis = typed_field(given, "reward_basis", list, place) or list(DEFAULT_BASIS)
    for name in basis:
        if name not in BASES:
            raise RowError(f"{place}reward_basis", f"{name!r} is none of {', '.join(BASES)}")
    return Criteria(
        actions=[_action(a, i) for i, a in enumerate(typed_field(given, "actions", list, place))],
        env_assertions=[
            _assertion(a, i)
            for i, a in enumerate(typed_field(given, "env_assertions", list, place))
        ],
        communicate_info=_texts(given, "communicate_info", place),
        nl_assertions=_texts(given, "nl_assertions", place),
        reward_basis=tuple(basis),
        judges_state=any(given.get(name) is not None for name in ("actions", "env_assertions")),
    )


def _texts(given: Mapping[str, Any], field: str, place: str) -> list[str]:
    """A list of texts. Numbers become their digits; other types are refused."""
    found = typed_field(given, field, list, place)
    for index, item in enumerate(found):
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise RowError(f"{place}{field}[{index}]", f"must be text, not {type(item).__name__}")
    return [str(item) for item in found]


def _function(row: Mapping[str, Any], criteria: Mapping[str, Any]) -> str:
    source: str = typed_field(row, "verification_function", str)
    if "FUNCTION" in (criteria.get("reward_basis") or ()) and not source.strip():
        raise RowError("verification_function", "is missing, but reward_basis names FUNCTION")
    if len(source) > _MAX_FUNCTION:
        raise RowError("verification_function", f"is longer than {_MAX_FUNCTION} characters")
    try:
        # Parsed, never run here: that is for the sandbox (`sea_env.verify.sandbox`).
        program = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RowError("verification_function", f"isn't valid Python: {error}") from error
    if source.strip() and not any(map(_binds_verify, ast.walk(program))):
        raise RowError("verification_function", "defines no function verify(episode)")
    return source


def _binds_verify(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id == "verify" and isinstance(node.ctx, ast.Store)
    if isinstance(node, ast.alias):
        return (node.asname or node.name) == "verify"
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == "verify"


def _side(value: Mapping[str, Any], field: str, key: str) -> str:
    side = value.get(key) or "assistant"
    if side not in _SIDES:
        raise RowError(f"{field}.{key}", f"is {side!r}, which is none of {', '.join(_SIDES)}")
    return str(side)


def _named(value: Any, field: str, key: str) -> str:
    if not isinstance(value, dict):
        raise RowError(field, "must be an object")
    name = value.get(key)
    if not isinstance(name, str) or not name:
        raise RowError(f"{field}.{key}", "must be a non-empty string")
    return name


def _action(value: Any, index: int) -> Action:
    field = f"evaluation_criteria.actions[{index}]"
    name = _named(value, field, "name")
    compare = value.get("compare_args")
    if compare is not None and not (
        isinstance(compare, list) and all(isinstance(item, str) for item in compare)
    ):
        raise RowError(f"{field}.compare_args", "must be a list of names or null")
    arguments = typed_field(value, "arguments", dict, f"{field}.")
    return Action(name, arguments, _side(value, field, "requestor"), compare)


def _assertion(value: Any, index: int) -> Assertion:
    field = f"evaluation_criteria.env_assertions[{index}]"
    name = _named(value, field, "func_name")
    wanted = value.get("assert_value")
    if not isinstance(wanted, bool | None):
        raise RowError(f"{field}.assert_value", f"must be true or false, not {wanted!r:.40}")
    return Assertion(
        func_name=name,
        arguments=typed_field(value, "arguments", dict, f"{field}."),
        env_type=_side(value, field, "env_type"),
        assert_value=wanted is not False,
        message=typed_field(value, "message", str, f"{field}."),
    )


def task_row(
    row_id: str,
    purpose: str,
    scenario: Mapping[str, Any],
    criteria: Mapping[str, Any],
    db_path: str,
) -> dict[str, Any]:
    """One `rl` row. The criteria become a JSON string, as in the published layout."""
    return {
        "id": row_id,
        "description": {"purpose": purpose},
        "user_scenario": dict(scenario),
        "evaluation_criteria": json.dumps(criteria),
        "db_path": db_path,
    }
