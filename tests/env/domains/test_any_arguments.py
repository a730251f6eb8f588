"""No call of any tool ever leaves the environment as an exception: that would be a way to escape
a verdict, and a policy could learn it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sea_env.domains import registry
from sea_env.domains.base import Domain, Environment, Tool
from sea_env.domains.database import Database

NAN, INF = float("nan"), float("inf")
ODD: list[Any] = [
    None, True, 0, -1, 1, 2.0, 0.5, -0.0, NAN, INF, -INF, 1e308, 10**400, -(10**400), "", " ",
    "\ud800", "x" * 10_000, "(-8)**0.5", "9**9**9", "1/0", "__proto__", "../..", [], [[]], [None],
    {}, {"": None}, {"a": [1]}, ["1"] * 100,
]  # fmt: skip
DOMAINS = ("airline", "mock", "retail", "shop", "telecom")


def opened(domain: Domain) -> Environment:
    """On a small database of its own generator."""
    from sea_data.synthesis import source_database
    from sea_env.domains.database_generator import Size

    if domain.name == "shop":
        tables = {"users": {}, "orders": {}, "desk": {"state": {"transferred": False}}}
        return domain.open(Database(tables))
    known = _MADE.get(domain.name)
    if known is None:
        known = source_database.generate(domain, 1, Size.SMALL, 0)[0].database
        _MADE[domain.name] = known
    return domain.open(known)


_MADE: dict[str, Database] = {}


def known_values(environment: Environment) -> list[Any]:
    """Ids of the database: with them calls get beyond the first look-up."""
    found: list[Any] = []
    for side in ("assistant", "user"):
        for table in dict(environment.base(side)).values():
            found += list(table)[:3] if isinstance(table, dict) else []
    return found


def every_tool() -> list[tuple[str, str, Tool]]:
    return [
        (name, side, tool)
        for name in DOMAINS
        for side, tools in (
            ("assistant", registry.get(name).tools),
            ("user", registry.get(name).user_tools),
        )
        for tool in tools
    ]


@pytest.mark.parametrize(
    ("name", "side", "tool"),
    every_tool(),
    ids=lambda one: one.name if isinstance(one, Tool) else str(one),
)
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_the_arguments_are_the_answer_is_a_result(
    name: str, side: str, tool: Tool, data: st.DataObject
) -> None:
    environment = opened(registry.get(name))
    values = ODD + known_values(environment)
    names = [*tool.parameters.get("properties", {}), "unknown"]
    arguments = {
        argument: data.draw(st.sampled_from(values), label=argument)
        for argument in names
        if data.draw(st.integers(0, 9)) < (9 if argument != "unknown" else 1)
    }
    result = environment.call(tool.name, arguments, side)
    assert isinstance(result.content, str)
    json.dumps(environment.changes(side), default=str)


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("(-8)**0.5", "a negative number has no such power"),
        ("10**64*10**64*10**64*10**64*10**64", "too large"),
        ("1/0", "division"),
        ("2**10", "1024.0"),
        # As Python computes them, which is what tau2-bench asks.
        ("2**70", "1.1805916207174113e+21"),
        ("2**64 + 1 - 2**64", "1.0"),
        ("1.5**100", "4.065611775352152e+17"),
        ("2**-2", "0.25"),
        ("9**9**9", "the power is too large"),
        ("(1+2)*3.5", "10.5"),
    ],
)
def test_calculate(expression: str, answer: str) -> None:
    environment = opened(registry.get("retail"))
    assert answer in environment.call("calculate", {"expression": expression}).content


def test_a_tool_that_breaks_is_an_error_result(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: Any = opened(registry.get("shop"))
    (tool, *_) = registry.get("shop").tools

    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("x")

    tools = environment._toolbox.agent
    monkeypatch.setitem(tools, tool.name, replace(tool, run=broken))
    result = environment.call(tool.name, {"email": "a"})
    assert (result.content, result.error) == ("Error: KeyError: 'x'", True)
