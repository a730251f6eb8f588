"""Generated telecom databases: consistent, usable for every kind of initial state."""

from typing import Any

import pytest

from sea_env.domains import initial_state, registry
from sea_env.domains.database_generator import GeneratedDatabase, Size, generate_database
from sea_env.domains.telecom.records import ID_FIELDS
from sea_testing.tau2 import needs_schemas, schemas

TELECOM = registry.get("telecom")


@pytest.fixture(scope="module")
def world() -> GeneratedDatabase:
    return generate_database(TELECOM, Size.MEDIUM, 5)


@pytest.fixture(scope="module")
def tables(world: GeneratedDatabase) -> Any:
    return world.agent


def test_records_have_their_ids_as_keys_and_ids_show_the_table(tables: Any) -> None:
    for table, field in ID_FIELDS.items():
        assert all(record[field] == key for key, record in tables[table].items())
        assert {key[0] for key in tables[table]} == {table[0].upper()}
    assert len(tables["customers"]) == 500


def test_every_line_bill_and_device_has_an_owner(tables: Any) -> None:
    lines = [line for c in tables["customers"].values() for line in c["line_ids"]]
    bills = [bill for c in tables["customers"].values() for bill in c["bill_ids"]]
    assert sorted(lines) == sorted(tables["lines"])
    assert sorted(bills) == sorted(tables["bills"])
    for line in tables["lines"].values():
        assert line["plan_id"] in tables["plans"]
        assert line["device_id"] in tables["devices"]
    numbers = [line["phone_number"] for line in tables["lines"].values()]
    assert len(numbers) == len(set(numbers))


def test_bills_add_up_and_late_customers_have_a_suspended_line(tables: Any) -> None:
    late = 0
    for customer in tables["customers"].values():
        bills = [tables["bills"][key] for key in customer["bill_ids"]]
        for bill in bills:
            assert bill["total_due"] == round(sum(i["amount"] for i in bill["line_items"]), 2)
        suspended = [
            key for key in customer["line_ids"] if tables["lines"][key]["status"] == "Suspended"
        ]
        owes = any(bill["status"] == "Overdue" for bill in bills)
        assert bool(suspended) == owes
        late += owes
    assert 20 < late < 70


@needs_schemas
def test_it_has_the_published_layout(world: GeneratedDatabase) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    layouts = schemas()["telecom"]
    lists = {name: list(records.values()) for name, records in world.agent.items()}
    sides = ((lists, "agent_db_schema"), (world.user, "user_db_schema"))
    for tables, name in sides:
        validator = jsonschema.Draft202012Validator(layouts[name])
        assert [error.message for error in validator.iter_errors(tables)] == []


def test_an_overdue_bill_can_be_settled_in_it(world: GeneratedDatabase) -> None:
    database = world.load(TELECOM)
    agent: Any = world.agent
    customer = next(
        c
        for c in agent["customers"].values()
        if any(agent["bills"][b]["status"] == "Overdue" for b in c["bill_ids"])
    )
    line = agent["lines"][customer["line_ids"][0]]
    overdue = next(b for b in customer["bill_ids"] if agent["bills"][b]["status"] == "Overdue")
    who = {"name": customer["full_name"], "phone_number": line["phone_number"]}
    state = {
        "initialization_actions": [
            {"env_type": "user", "func_name": "set_user_info", "arguments": who},
            {"env_type": "user", "func_name": "simulate_network_search", "arguments": {}},
        ]
    }
    episode = TELECOM.open(initial_state.begin(TELECOM, database, state))
    assert not episode.check("assert_service_status", {"expected_status": "connected"})
    owner = {"customer_id": customer["customer_id"]}
    episode.call("send_payment_request", {**owner, "bill_id": overdue})
    episode.call("make_payment", {}, "user")
    assert not episode.call("resume_line", {**owner, "line_id": line["line_id"]}).error
    episode.call("reboot_device", {}, "user")
    assert episode.check("assert_service_status", {"expected_status": "connected"})
    assert episode.check("assert_no_overdue_bill", {"overdue_bill_id": overdue})


def test_the_policy_names_the_tools_that_need_a_rule(world: GeneratedDatabase) -> None:
    named = ("transfer_to_human_agents", "send_payment_request", "resume_line", "refuel_data")
    assert all(f"`{tool}`" in world.policy for tool in named)
