"""tau2-bench's own data, in shared/ next to the checkout or at SEA_TAU2_DATA; never in the repo."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("SEA_TAU2_DATA") or Path(__file__).parents[4] / "shared" / "tau2")
_SCHEMAS = DATA / "domain_schemas.json"
_MISSING = "not found next to the checkout or at SEA_TAU2_DATA"

needs_data = pytest.mark.skipif(
    not (DATA / "telecom" / "db.toml").is_file(), reason=f"tau2-bench's data {_MISSING}"
)
needs_schemas = pytest.mark.skipif(
    not _SCHEMAS.is_file(), reason=f"tau2-bench's schemas {_MISSING}"
)


def schemas() -> dict[str, Any]:
    """By domain, the tools and database layouts of `domain_schemas.json`."""
    found: dict[str, Any] = json.loads(_SCHEMAS.read_text())
    return found


def expected(domain: str) -> list[dict[str, Any]]:
    """What each task's expected actions did in tau2-bench; results that are JSON are parsed."""
    return read_values((DATA / domain / "expected.json").read_text())


def read_values(results: str) -> list[dict[str, Any]]:
    """Results in the layout of `expected.json`; those that are JSON are parsed."""
    return [_values(result) for result in json.loads(results)]


def _values(result: dict[str, Any]) -> dict[str, Any]:
    calls = [{**call, "content": _value(call["content"])} for call in result["gold_calls"]]
    return {**result, "gold_calls": calls}


def _value(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
