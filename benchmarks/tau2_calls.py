"""What `tau2_parity.py` plays on both sides: random calls, bent dialogues, scripts. Pure.

Calls are drawn from the tools' own schemas, with ids and texts of the database as values, so that
most get beyond a look-up.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sea_env.domains.base import Tool
from sea_env.domains.database import Database

Call = list[Any]
"""[side, tool, arguments]"""


def known_values(database: Database) -> list[str]:
    """Ids of the database and texts of its records: with them calls get beyond a look-up."""
    found: dict[str, None] = {}

    def collect(value: Any, depth: int) -> None:
        if isinstance(value, Mapping):
            for key, inner in itertools.islice(value.items(), 40):
                found[str(key)] = None
                collect(inner, depth + 1)
        elif isinstance(value, list):
            for inner in value[:5]:
                collect(inner, depth + 1)
        elif isinstance(value, str) and depth < 5:
            found[value] = None

    for tables in (database.agent, database.user):
        collect(tables, 0)
    return list(found)


def drawn(tool: Tool, values: Sequence[str], rng: random.Random) -> dict[str, Any]:
    """Arguments that fit the tool's schema."""
    definitions = tool.parameters.get("$defs", {})
    required = set(tool.required)
    return {
        name: fitting(schema, definitions, values, rng)
        for name, schema in tool.parameters["properties"].items()
        if name in required or rng.random() < 0.5
    }


def fitting(schema: Any, definitions: Any, values: Sequence[str], rng: random.Random) -> Any:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return fitting(definitions[name], definitions, values, rng)
    if "anyOf" in schema:
        return fitting(rng.choice(schema["anyOf"]), definitions, values, rng)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items", {})
        return [fitting(items, definitions, values, rng) for _ in range(rng.randint(0, 2))]
    if kind == "object":
        return {
            name: fitting(part, definitions, values, rng)
            for name, part in schema.get("properties", {}).items()
        }
    scalars: dict[str, Any] = {"integer": rng.randint(-2, 300), "number": rng.randint(1, 500) / 2}
    scalars |= {"boolean": rng.random() < 0.5, "null": None}
    return scalars.get(kind, rng.choice(values))


def bends(calls: list[Call], rng: random.Random) -> Iterator[tuple[str, list[Call]]]:
    """The expected calls, and four ways to get them wrong."""
    yield "as expected", calls
    if not calls:
        return
    place = rng.randrange(len(calls))
    yield "one left out", calls[:place] + calls[place + 1 :]
    yield "one twice", [*calls[: place + 1], *calls[place:]]
    yield "in another order", calls[::-1]
    side, tool, arguments = calls[place]
    changed = {k: f"{v}0" if isinstance(v, str) else v for k, v in arguments.items()}
    yield "another argument", [*calls[:place], [side, tool, changed], *calls[place + 1 :]]


def scripted(rng: random.Random) -> list[dict[str, Any]]:
    """Turns of user and agent in the order in which they are asked, with right and wrong calls."""
    right = {"name": "get_users", "arguments": {}}
    wrong = {"name": "nothing", "arguments": {}}
    script: list[dict[str, Any]] = []
    for _ in range(rng.randint(1, 6)):
        last = rng.random() < 0.15
        script.append({"role": "user", "content": "###STOP###" if last else "Hm."})
        if last:
            break
        for _ in range(rng.randint(0, 3)):
            made = [dict(rng.choice([right, wrong])) for _ in range(rng.randint(1, 3))]
            script.append({"role": "assistant", "content": "", "tool_calls": made})
        script.append({"role": "assistant", "content": "Yes?"})
    return script
