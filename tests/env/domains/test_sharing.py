"""Episodes share one database: an idle one holds nothing, an active one what it changed.

Structure only, no clock: `make bench-env` measures the speed.
"""

import copy
import io
import json
import runpy
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sea_env.domains import registry
from sea_env.domains.database import Database
from sea_env.domains.database_generator import generate_database
from sea_env.domains.environment import ToolEnvironment
from sea_env.domains.overlay import Overlay

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
DOMAINS = ("airline", "retail", "telecom")
LIMIT = 64 * 1024
Calls = list[tuple[str, dict[str, Any], str]]


def small(name: str) -> Database:
    domain = registry.get(name)
    return generate_database(domain, "small", 5).load(domain)


@pytest.fixture(scope="module")
def databases() -> dict[str, Database]:
    return {name: small(name) for name in DOMAINS}


@pytest.fixture(scope="module")
def customers() -> dict[str, Callable[[Database], Any]]:
    """The benchmark's own calls: every one of them succeeds on a fresh episode."""
    found: dict[str, Callable[[Database], Any]] = runpy.run_path(str(BENCHMARKS / "env_calls.py"))[
        "CUSTOMERS"
    ]
    return found


def opened(name: str, database: Database) -> Any:
    environment = registry.get(name).open(database)
    assert isinstance(environment, ToolEnvironment)
    return environment


def run(environment: Any, calls: Calls) -> None:
    for name, arguments, requestor in calls:
        result = environment.call(name, arguments, requestor)
        assert not result.error, (name, arguments, result.content)


@pytest.mark.parametrize("name", DOMAINS)
def test_an_idle_episode_holds_nothing_of_its_own(
    name: str, databases: dict[str, Database]
) -> None:
    environment = opened(name, databases[name])
    for side, base in sides(environment, databases[name]):
        assert side._own == {}
        assert side._base is base
    assert environment._state.memo is databases[name].memo
    assert environment.changes("assistant") == environment.changes("user") == []


@pytest.mark.parametrize("name", DOMAINS)
def test_reading_copies_nothing(
    name: str, databases: dict[str, Database], customers: dict[str, Callable[[Database], Any]]
) -> None:
    environment = opened(name, databases[name])
    for customer in customers[name](databases[name]):
        run(environment, customer.reads)
    assert [side._own for side, _ in sides(environment, databases[name])] == [{}, {}]


def sides(environment: Any, database: Database) -> list[tuple[Any, Any]]:
    """Both sides' overlays, each with the tables that should be its base."""
    state = environment._state
    return [(state.agent, database.agent), (state.user, database.user)]


def text(database: Database) -> str:
    return json.dumps([database.agent, database.user])


@pytest.mark.parametrize("name", DOMAINS)
def test_writing_copies_the_written_records_alone(
    name: str, databases: dict[str, Database], customers: dict[str, Callable[[Database], Any]]
) -> None:
    database = databases[name]
    before = text(database)
    customer = next(iter(customers[name](database)))
    environment, other = opened(name, database), opened(name, database)
    run(environment, customer.writes[:1])
    written = 0
    for (side, base), (fresh, _) in zip(
        sides(environment, database), sides(other, database), strict=True
    ):
        for table, records in base.items():
            for key, record in records.items():
                written += side.owns(table, key)
                assert (side.value(table, key) is record) != side.owns(table, key)
                assert fresh.value(table, key) is record
    assert 1 <= written <= 4, "airplane mode changes four fields of a phone"
    assert text(database) == before


@pytest.mark.parametrize("name", DOMAINS)
def test_no_write_of_any_customer_changes_the_base(
    name: str, databases: dict[str, Database], customers: dict[str, Callable[[Database], Any]]
) -> None:
    before = text(databases[name])
    for customer in customers[name](databases[name]):
        environment = opened(name, databases[name])
        run(environment, customer.writes)
        assert environment.changes("assistant") or environment.changes("user")
    assert text(databases[name]) == before


@pytest.mark.parametrize("name", DOMAINS)
def test_a_thousand_idle_episodes_fit(name: str, databases: dict[str, Database]) -> None:
    domain = registry.get(name)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [domain.open(databases[name]) for _ in range(1000)]
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown / len(kept) < LIMIT


def test_the_benchmark_ends_with_one_json_object(
    monkeypatch: pytest.MonkeyPatch, databases: dict[str, Database]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", ["env.py"])
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    made = runpy.run_path(str(BENCHMARKS / "env.py"), run_name="benchmark")
    names = made["main"].__globals__
    names.update(EPISODES=20, ROUNDS=1, RESETS=20)
    names["_database"] = lambda domain, _: ("small", databases[domain.name])
    names["CUSTOMERS"] = {name: names["CUSTOMERS"][name] for name in DOMAINS}
    made["main"]()
    *rows, last = out.getvalue().splitlines()
    assert len(rows) == 2 + len(DOMAINS)
    assert set(json.loads(last)) == {
        "read_calls_per_s",
        "write_calls_per_s",
        "resets_per_s",
        "bytes_per_idle_episode",
    }
    assert all(isinstance(value, int) and value > 0 for value in json.loads(last).values())


def test_a_table_of_plain_values_keeps_what_was_edited_in_it_before_and_after() -> None:
    base: dict[str, Any] = {"phone": {"on": True, "signal": {"2G": "poor"}, "name": None}}
    before = copy.deepcopy(base)
    overlay = Overlay(base)
    overlay.edit("phone", "signal")["2G"] = "none"
    assert overlay.values("phone") == {"on": True, "signal": {"2G": "none"}, "name": None}
    overlay.set("phone", {"on": True, "name": None})
    assert overlay.writes == 1, "nothing was set to another value"
    overlay.set("phone", {"on": False, "name": "x"})
    overlay.edit("phone", "signal")["5G"] = "good"
    assert overlay.writes == 4
    assert overlay.values("phone")["signal"] == {"2G": "none", "5G": "good"}
    first = Overlay(base)
    first.set("phone", {"on": False})
    first.edit("phone", "signal")["2G"] = "none"
    assert [one["path"] for one in first.changes()] == ["/phone/on", "/phone/signal/2G"]
    assert first.folded()["phone"] == {"on": False, "signal": {"2G": "none"}, "name": None}
    assert base == before


def test_an_edit_of_a_record_that_is_not_there_changes_nothing() -> None:
    """The call is answered with an error: its verdict must not see a record of null."""
    overlay = Overlay({"orders": {"a": {"status": "pending"}}})
    with pytest.raises(KeyError):
        overlay.edit("orders", "b")
    assert (overlay.changes(), overlay.writes, overlay.touched("orders")) == ([], 0, False)
    assert overlay.folded() == {"orders": {"a": {"status": "pending"}}}
