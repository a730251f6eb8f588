"""Generated databases: seeded, of the published layout, consistent, usable by the tools."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sea_cli import main
from sea_data.formats import tau2
from sea_env.domains import registry
from sea_env.domains.airline.payments import paid_bags
from sea_env.domains.database_generator import (
    GeneratedDatabase,
    NoGeneratorError,
    Size,
    generate_database,
)
from sea_env.domains.mock.domain import Mock
from sea_testing.tau2 import needs_schemas, schemas
from sea_testing.waiting import HANG_S

BUILT_IN = ("airline", "mock", "retail", "shop", "telecom")
Generated = dict[tuple[str, Size], GeneratedDatabase]
USERS = {Size.SMALL: 20, Size.MEDIUM: 500}


def generated(name: str, size: Size | str, seed: int) -> GeneratedDatabase:
    return generate_database(registry.get(name), size, seed)


@pytest.fixture(scope="module")
def made() -> Generated:
    return {(domain, size): generated(domain, size, 3) for domain in BUILT_IN for size in USERS}


@pytest.mark.parametrize("domain", BUILT_IN)
def test_the_same_seed_gives_the_same_database(made: Generated, domain: str) -> None:
    world = made[domain, Size.SMALL]
    assert generated(domain, "small", 3).files() == world.files()
    assert generated(domain, "small", 4).agent != world.agent


@pytest.mark.parametrize("domain", ["airline", "retail"])
def test_sizes_and_their_users(made: Generated, domain: str) -> None:
    for size, users in USERS.items():
        assert len(made[domain, size].agent["users"]) == users
    assert made[domain, Size.SMALL].policy == made[domain, Size.MEDIUM].policy


@pytest.mark.parametrize("domain", BUILT_IN)
def test_the_three_sizes_are_the_documented_ones(domain: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "data-formats.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| {domain} | "))
    cells = row.strip("| ").split(" | ")[1:]
    for size, cell in zip(Size, cells, strict=True):
        world = generated(domain, size, 5)
        for entry in cell.split(", "):
            count, table = entry.split()
            assert len(world.agent[table]) == int(count.replace(",", "")), (size, entry)


@pytest.mark.parametrize("domain", BUILT_IN)
@pytest.mark.parametrize("size", USERS)
def test_the_domain_reads_it_unchanged(made: Generated, domain: str, size: Size) -> None:
    database = made[domain, size].load(registry.get(domain))
    for table, records in made[domain, size].agent.items():
        assert list(database.agent[table]) == list(records)


@needs_schemas
@pytest.mark.parametrize("domain", ["airline", "retail"])
def test_it_has_the_published_layout(made: Generated, domain: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = schemas()[domain]["agent_db_schema"]
    validator = jsonschema.Draft202012Validator(schema)
    tables = made[domain, Size.SMALL].agent
    assert [error.message for error in validator.iter_errors(tables)] == []


def test_the_policy_names_every_airline_tool_that_needs_a_rule(
    made: Generated,
) -> None:
    policy = made["airline", Size.SMALL].policy
    for word in ("transfer_to_human_agents", "update_reservation_flights", "calculate"):
        assert f"`{word}`" in policy


def reservations(world: GeneratedDatabase) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    tables: Any = world.agent
    for one in tables["reservations"].values():
        yield one, tables["users"][one["user_id"]]


def test_airline_reservations_add_up(made: Generated) -> None:
    for one, user in reservations(made["airline", Size.MEDIUM]):
        assert one["reservation_id"] in user["reservations"]
        people, bags = len(one["passengers"]), one["total_baggages"]
        paid = paid_bags(user["membership"], one["cabin"], people, bags)
        assert one["nonfree_baggages"] == paid
        price = sum(f["price"] for f in one["flights"]) * people + 50 * paid
        price += 30 * people * (one["insurance"] == "yes")
        amounts = [p["amount"] for p in one["payment_history"]]
        assert amounts == ([price, -price] if one["status"] == "cancelled" else [price])
        assert {p["payment_id"] for p in one["payment_history"]} <= set(user["payment_methods"])


def test_airline_trips_are_connected(made: Generated) -> None:
    world = made["airline", Size.MEDIUM]
    for one, _ in reservations(world):
        flights = one["flights"]
        for first, second in itertools.pairwise(flights):
            assert first["destination"] == second["origin"]
            assert first["date"] <= second["date"]
        ends = one["destination"] if one["flight_type"] == "one_way" else one["origin"]
        assert (flights[0]["origin"], flights[-1]["destination"]) == (one["origin"], ends)
        assert one["origin"] != one["destination"]
        assert one["created_at"] < flights[0]["date"] + "T24"
        for flight in flights:
            assert flight["date"] in world.agent["flights"][flight["flight_number"]]["dates"]


def test_retail_orders_add_up(made: Generated) -> None:
    tables: Any = made["retail", Size.MEDIUM].agent
    for order in tables["orders"].values():
        user = tables["users"][order["user_id"]]
        assert order["order_id"] in user["orders"]
        assert order["payment_history"][0]["payment_method_id"] in user["payment_methods"]
        total = round(sum(item["price"] for item in order["items"]), 2)
        assert order["payment_history"][0]["amount"] == total
        for item in order["items"]:
            variants = tables["products"][item["product_id"]]["variants"]
            assert variants[item["item_id"]]["price"] == item["price"]


def test_every_case_of_the_rules_occurs(made: Generated) -> None:
    airline: Any = made["airline", Size.MEDIUM].agent
    statuses = {d["status"] for f in airline["flights"].values() for d in f["dates"].values()}
    assert len(statuses) == 6
    found = list(airline["reservations"].values())
    assert {r["cabin"] for r in found} == {"business", "economy", "basic_economy"}
    assert sum(r["created_at"] > "2024-05-14T15:00:00" for r in found) > 20
    segments = [f for r in found for f in r["flights"]]
    flown = [airline["flights"][f["flight_number"]]["dates"][f["date"]] for f in segments]
    assert min(Counter(entry["status"] for entry in flown).values()) > 10
    retail: Any = made["retail", Size.MEDIUM].agent
    assert len({o["status"] for o in retail["orders"].values()}) == 4


def test_tools_find_flights_in_an_airline_database(made: Generated) -> None:
    domain = registry.get("airline")
    world = domain.open(made["airline", Size.SMALL].load(registry.get("airline")))
    flights = made["airline", Size.SMALL].agent["flights"].values()
    way = {"origin": "DEN", "date": "2024-05-20"}
    ends = sorted({f["destination"] for f in flights} - {"DEN"})
    connections = [
        json.loads(world.call("search_onestop_flight", {**way, "destination": end}).content)
        for end in ends
    ]
    assert sum(map(len, connections)) > 5
    direct = [
        json.loads(world.call("search_direct_flight", {**way, "destination": end}).content)
        for end in ends
    ]
    assert sum(map(len, direct)) > 3


@pytest.mark.parametrize("domain", BUILT_IN)
def test_the_command_writes_a_folder_that_loads(
    tmp_path: Path, domain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / domain
    arguments = ["--domain", domain, "--size", "small", "--seed", "3", "--out", str(out)]
    assert main(["data", "world", *arguments]) == 0
    assert "small, seed 3: " in capsys.readouterr().out
    assert tau2.database(out, registry.get(domain)).agent
    assert len(tau2.policy(out)) > 100
    users = {"user_db.json"} if registry.get(domain).user_tools else set()
    assert {path.name for path in out.iterdir()} == {"db.json", "policy.md"} | users


@pytest.mark.component
def test_hash_order_does_not_influence_a_database(made: Generated) -> None:
    """Another process, whose sets have another order, generates the same database."""
    code = (
        "import hashlib, sys; from sea_env.domains import registry\n"
        "from sea_env.domains.database_generator import generate_database\n"
        "for name in sys.argv[1:]:\n"
        "    text = repr(generate_database(registry.get(name), 'small', 3))\n"
        "    print(hashlib.sha256(text.encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run(
        [sys.executable, "-c", code, *BUILT_IN],
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=True,
    )
    here = [repr(made[name, Size.SMALL]).encode() for name in BUILT_IN]
    assert done.stdout.split() == [hashlib.sha256(text).hexdigest() for text in here]


def test_tasks_on_a_generated_database_replay_by_the_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    made: Generated,
) -> None:
    for name, text in made["airline", Size.SMALL].files().items():
        (tmp_path / name).write_text(text)
    tables: Any = made["airline", Size.SMALL].agent
    code, found = next(iter(tables["reservations"].items()))
    actions = [
        {"name": "get_user_details", "arguments": {"user_id": found["user_id"]}},
        {"name": "cancel_reservation", "arguments": {"reservation_id": code}},
        {"name": "cancel_reservation", "arguments": {"reservation_id": "NONE00"}},
    ]
    task = {"id": "airline_1", "evaluation_criteria": {"actions": actions}}
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    arguments = ["--domain", "airline", "--data", str(tmp_path), "--json"]
    assert main(["data", "replay", *arguments]) == 0
    (outcome,) = json.loads(capsys.readouterr().out)
    assert [call["error"] for call in outcome["gold_calls"]] == [False, False, True]
    assert f"/reservations/{code}/status" in [c["path"] for c in outcome["agent_db_changes"]]


class WithoutGenerator(Mock):
    __module__ = "json.decoder"


def test_a_domain_without_a_generator_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        NoGeneratorError,
        match=r"^The domain mock generates no databases: give a folder with its databases, or "
        r"define generate_database\(size, seed\) in the module json\.database_generator\.$",
    ):
        generate_database(WithoutGenerator(), Size.SMALL, 0)
