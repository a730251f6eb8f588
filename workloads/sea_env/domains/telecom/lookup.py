"""Finds records of the agent's database, with tau2-bench's error texts; the agent's read tools.

Results are written as tau2-bench does: records are JSON with date-times as `YYYY-MM-DD HH:MM:SS`;
numbers that a tool itself puts into an object become strings, those within a record don't.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.overlay import Record
from sea_env.domains.state import State, finder, first_by_key
from sea_env.domains.telecom.clock import TODAY, last_of_month
from sea_env.domains.toolkit import tool

_AWAITING = "Awaiting Payment"
_DATE_TIMES = ("created_at", "activation_date", "last_esim_transfer_date")

customer = finder("customers", "Customer with ID {} not found")
line = finder("lines", "Line with ID {} not found")
bill = finder("bills", "Bill with ID {} not found")
plan = finder("plans", "Plan with ID {} not found")
device = finder("devices", "Device with ID {} not found")
_BY_LETTER = {
    "L": ("lines", line),
    "D": ("devices", device),
    "B": ("bills", bill),
    "C": ("customers", customer),
    "P": ("plans", plan),
}
"""Table and finder of a record by the first letter of its id."""


def line_of(state: State, customer_id: str, line_id: str) -> Record:
    """A line that the customer owns."""
    if line_id not in customer(state, customer_id)["line_ids"]:
        raise ToolError(f"Line {line_id} not found for customer {customer_id}")
    return line(state, line_id)


def bills_of(state: State, owner: Record) -> Iterator[Record]:
    """A customer's bills in the customer's order."""
    return (bill(state, bill_id) for bill_id in owner["bill_ids"])


def awaiting_payment(state: State, owner: Record) -> list[Record]:
    """Those of a customer's bills that the customer was asked to pay."""
    # Asked after every write of the agent, hardly any of which is to bills.
    untouched = not (state.agent.touched("bills") or state.agent.touched("customers"))
    if untouched and owner["customer_id"] in _without_request(state):
        return []
    return [found for found in bills_of(state, owner) if found["status"] == _AWAITING]


def _without_request(state: State) -> frozenset[str]:
    """Ids of the base's customers all of whose bills exist and none awaits payment."""

    def build() -> frozenset[str]:
        unasked = {key for key, found in state.agent.items("bills") if found["status"] != _AWAITING}
        return frozenset(
            key
            for key, found in state.agent.items("customers")
            if unasked.issuperset(found["bill_ids"])
        )

    return state.indexed("customers without a request", build)


def line_by_phone(state: State, phone_number: str) -> Record:
    """The line of a phone number; ToolError if there is none."""
    found = _line_id_by_number(state).get(phone_number)
    if found is None:
        raise ToolError(f"Line with phone number {phone_number} not found")
    return line(state, found)


def customer_by_phone(state: State, phone_number: str) -> Record:
    """The customer with this contact number or with a line of this number."""
    return customer(state, _customer_id(state, phone_number))


def _customer_id(state: State, phone_number: str) -> str:
    found = _customer_id_by_number(state).get(phone_number)
    if found is None:
        raise ToolError(f"Customer with phone number {phone_number} not found")
    return found


def _line_id_by_number(state: State) -> dict[str, str]:
    """Line ids by phone number; no tool changes a number."""
    return state.indexed(
        "line ids",
        lambda: first_by_key((one["phone_number"], k) for k, one in state.agent.items("lines")),
    )


def _customer_id_by_number(state: State) -> dict[str, str]:
    """Customer ids by phone number; no tool changes the owner of a line."""

    def numbers() -> Iterator[tuple[str, str]]:
        for key, record in state.agent.items("customers"):
            yield record["phone_number"], key
            for line_id in record["line_ids"]:
                owned = state.agent.get("lines", line_id)
                if owned is not None:
                    yield owned["phone_number"], key

    return state.indexed("customer ids", lambda: first_by_key(numbers()))


def _customer_ids_by_name(state: State) -> dict[tuple[str, str], list[str]]:
    """Customer ids by lower-case name and date of birth; no tool changes either."""

    def build() -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for key, record in state.agent.items("customers"):
            who = record["full_name"].lower(), record["date_of_birth"]
            found.setdefault(who, []).append(key)
        return found

    return state.indexed("customers by name", build)


def record_json(state: State, table: str, key: str) -> str:
    """A record as JSON; it must exist. Those of untouched records are shared by all episodes."""
    if state.agent.owns(table, key):
        return json.dumps(_written(state.agent.get(table, key) or {}))
    texts = state.shared_texts(f"{table}, date-times with a space")
    known = texts.get(key)
    if known is None:
        known = texts[key] = json.dumps(_written(state.agent.get(table, key) or {}))
    return known


def list_json(state: State, table: str, keys: Iterable[str]) -> str:
    """Records as a JSON list."""
    return f"[{', '.join([record_json(state, table, key) for key in keys])}]"


def summary_json(values: Mapping[str, Any], **records: Record) -> str:
    """A JSON object of a tool's own values, and of whole records by name."""
    texts = {name: str(value) for name, value in values.items()}
    return json.dumps({**texts, **{name: _written(found) for name, found in records.items()}})


def _written(record: Record) -> Record:
    date_times = {
        name: record[name].replace("T", " ")
        for name in _DATE_TIMES
        if isinstance(record.get(name), str)
    }
    return {**record, **date_times} if date_times else record


@tool(Kind.READ)
def get_customer_by_phone(state: State, phone_number: str) -> str:
    """Find a customer by the contact number, or the number of one of the customer's lines."""
    return record_json(state, "customers", _customer_id(state, phone_number))


@tool(Kind.READ)
def get_customer_by_id(state: State, customer_id: str) -> str:
    """Get a customer by the customer id."""
    customer(state, customer_id)
    return record_json(state, "customers", customer_id)


@tool(Kind.READ)
def get_customer_by_name(state: State, full_name: str, dob: str) -> str:
    """Find customers by full name and date of birth (YYYY-MM-DD); the list may be empty."""
    found = _customer_ids_by_name(state).get((full_name.lower(), dob), ())
    return list_json(state, "customers", found)


@tool(Kind.READ)
def get_details_by_id(state: State, id: str) -> str:  # noqa: A002 - the tool's argument is called id
    """Get the details of a customer, line, device, bill or plan by its id."""
    known = _BY_LETTER.get(id[:1])
    if known is None:
        raise ToolError(f"Unknown ID format or type: {id}")
    table, find = known
    find(state, id)
    return record_json(state, table, id)


@tool(Kind.READ)
def get_bills_for_customer(state: State, customer_id: str, limit: int = 12) -> str:
    """List a customer's bills, the newest first, at most `limit`."""
    found = bills_of(state, customer(state, customer_id))
    newest = sorted(found, key=lambda bill: str(bill["issue_date"]), reverse=True)
    return list_json(state, "bills", [bill["bill_id"] for bill in newest[:limit]])


@tool(Kind.READ)
def get_data_usage(state: State, customer_id: str, line_id: str) -> str:
    """Get a line's data used, limit and refuelled data of this billing cycle, and its last day."""
    line = line_of(state, customer_id, line_id)
    return summary_json(
        {
            "line_id": line_id,
            "data_used_gb": line["data_used_gb"],
            "data_limit_gb": plan(state, line["plan_id"])["data_limit_gb"],
            "data_refueling_gb": line["data_refueling_gb"],
            "cycle_end_date": last_of_month(TODAY),
        }
    )
