"""A small telecom company: the agent's side, a customer's phone, and calls of both."""

import json
from typing import Any

from sea_env.domains import initial_state, registry
from sea_env.domains.base import Environment
from sea_env.domains.database import Database

TELECOM = registry.get("telecom")
JANE = {"customer_id": "C1"}
LINE = {**JANE, "line_id": "L1"}
TABLES: dict[str, list[dict[str, Any]]] = {
    "plans": [
        {
            "plan_id": "P1",
            "name": "Plain",
            "data_limit_gb": 5,
            "price_per_month": 30,
            "data_refueling_price_per_gb": 2,
        }
    ],
    "devices": [
        {
            "device_id": "D1",
            "device_type": "phone",
            "model": "X",
            "is_esim_capable": True,
            "activation_date": "2025-01-02T03:04:05",
        }
    ],
    "lines": [
        {"line_id": "L1", "phone_number": "555-1", "status": "Active", "plan_id": "P1"},
        {"line_id": "L2", "phone_number": "555-2", "plan_id": "P1"},
    ],
    "customers": [
        {
            "customer_id": "C1",
            "full_name": "Jane Roe",
            "date_of_birth": "1980-01-01",
            "email": "j@example.com",
            "phone_number": "555-0",
            "address": {"street": "S", "city": "C", "state": "NY", "zip_code": "1"},
            "line_ids": ["L1", "L2"],
            "bill_ids": ["B1"],
        },
        {
            "customer_id": "C2",
            "full_name": "Jim Poe",
            "date_of_birth": "1981-01-01",
            "email": "p@example.com",
            "phone_number": "555-9",
            "address": {"street": "S", "city": "C", "state": "NY", "zip_code": "1"},
        },
    ],
    "bills": [
        {
            "bill_id": "B1",
            "customer_id": "C1",
            "period_start": "2025-01-01",
            "period_end": "2025-01-31",
            "issue_date": "2025-01-01",
            "total_due": 30,
            "due_date": "2025-01-15",
            "status": "Overdue",
        }
    ],
}


def parsed(tables: dict[str, Any], user: dict[str, Any] | None = None) -> Database:
    user_data = json.dumps(user).encode() if user else None
    return TELECOM.parse(json.dumps(tables).encode(), "db.json", user_data)


DATABASE = parsed(TABLES)


def begin(*faults: tuple[str, dict[str, Any]], phone: str | None = "555-1") -> Environment:
    actions = [
        {"env_type": "user", "func_name": name, "arguments": arguments}
        for name, arguments in faults
    ]
    if phone is not None:
        who = {"name": "Jane Roe", "phone_number": phone}
        actions.insert(0, {"env_type": "user", "func_name": "set_user_info", "arguments": who})
    state = {"initialization_actions": actions} if actions else None
    return TELECOM.open(initial_state.begin(TELECOM, DATABASE, state))


def desk(world: Environment, name: str, **arguments: Any) -> str:
    return world.call(name, arguments).content


def user(world: Environment, name: str, **arguments: Any) -> str:
    return world.call(name, arguments, "user").content


def speed(world: Environment) -> str:
    return user(world, "run_speed_test")
