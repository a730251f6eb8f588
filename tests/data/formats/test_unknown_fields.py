"""Fields of a database that its domain doesn't know: dropped, with a warning."""

import json
import logging
from typing import Any

import pytest

from sea_env.domains import registry
from sea_env.domains.database_generator import generate_database

RETAIL: dict[str, Any] = {
    "users": {},
    "orders": {
        "#W1": {
            "order_id": "#W1", "user_id": "u", "status": "pending", "items": [],
            "address": {"address1": "a", "address2": "", "city": "c", "country": "x", "state": "s",
                        "zip": "1", "planet": "Mars"}, "fulfillments": [],
            "payment_history": [], "colour": "red",
        }
    },
    "products": {},
}  # fmt: skip


def test_unknown_fields_of_a_database_are_dropped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """tau2 drops them too, silently."""
    with caplog.at_level(logging.WARNING):
        database = registry.get("retail").parse(json.dumps(RETAIL).encode(), "x.json")
    assert "x.json has fields that retail doesn't know; they are left out" in caplog.text
    assert "orders/#W1/address/planet and 1 more" in caplog.text
    order = database.agent["orders"]["#W1"]
    assert "colour" not in order
    assert "planet" not in order["address"]


@pytest.mark.parametrize(("name", "table"), [("airline", "users"), ("mock", "tasks")])
def test_unknown_fields_of_other_domains_are_not_dropped_silently(
    caplog: pytest.LogCaptureFixture, name: str, table: str
) -> None:
    tables = json.loads(generate_database(registry.get(name), "small", 1).files()["db.json"])
    key = next(iter(tables[table]))
    tables[table][key]["colour"] = "red"
    with caplog.at_level(logging.WARNING):
        registry.get(name).parse(json.dumps(tables).encode(), "x.json")
    assert f"x.json has fields that {name} doesn't know" in caplog.text
    assert f"{table}/{key}/colour." in caplog.text
