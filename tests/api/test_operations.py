"""docs/operations.md explains every reason that code can put into a condition or an Event."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"
SOURCES = ("operator/sea_operator", "workloads/sea_runtime/coordinator")
MAKERS = re.compile(r"Blocker|Event|Problem|PreconditionError|BadRowError|_all|_problem|Judgement")
"""Calls of which one of the first two arguments, or the argument `reason`, is a reason."""
REASON = re.compile(r"[A-Z][a-z]+([A-Z][a-z]+)*")
STATUSES = {"True", "False", "Unknown"}


def _texts(node: ast.AST | None) -> Iterator[str]:
    for part in ast.walk(node) if node else ():
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _of_call(call: ast.Call) -> Iterator[str]:
    name: str = getattr(call.func, "id", "") or getattr(call.func, "attr", "")
    if MAKERS.fullmatch(name):
        for argument in call.args[:2]:
            yield from _texts(argument)
        for keyword in call.keywords:
            if keyword.arg == "reason":
                yield from _texts(keyword.value)


def _of_tuple(returned: ast.Return) -> Iterator[str]:
    """`return "False", "Settled", "Nothing is on its way."`, with or without the status."""
    if isinstance(returned.value, ast.Tuple):
        words = [part for part in returned.value.elts if isinstance(part, ast.Constant)]
        yield from (one.value for one in words[:2] if isinstance(one.value, str))


def _named_reason(tree: ast.Module) -> Iterator[str]:
    """What functions called `_reason` return, and what is assigned to `reason`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in ("_reason", "reason"):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return):
                    yield from _texts(inner.value)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
            yield from _texts(node.value)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_REASONS":
            assert isinstance(node.value, ast.Dict)
            for value in node.value.values:
                yield from _texts(value)


def _in_code() -> set[str]:
    found: set[str] = set()
    for path in (path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))):
        tree = ast.parse(path.read_text())
        found.update(_named_reason(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found.update(_of_call(node))
            if isinstance(node, ast.Return) and path.name == "conditions.py":
                found.update(_of_tuple(node))
    return {word for word in found if REASON.fullmatch(word)} - STATUSES


def _on_page() -> set[str]:
    """The backquoted words in the first column of the tables below "Reasons"."""
    tables = PAGE.read_text().split("## Reasons", 1)[1]
    rows = re.findall(r"^\| (`[^|]*) \|", tables, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`(\w+)`", row)}


def test_every_reason_of_the_code_is_explained_on_the_operations_page() -> None:
    assert _in_code() - _on_page() == set()


def test_the_operations_page_explains_no_reason_that_the_code_does_not_have() -> None:
    assert _on_page() - _in_code() == set()


def test_reasons_of_all_kinds_are_found_in_the_code() -> None:
    assert {"SecretNotFound", "Settled", "StageStarted", "StoreFails", "BadRow"} <= _in_code()
