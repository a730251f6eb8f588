"""Finding records of the agent's database, and tau2's words for not finding them."""

from collections.abc import Iterator

from sea_env.domains.base import ToolError
from sea_env.domains.environment import State
from sea_env.domains.overlay import Record


def customer(state: State, customer_id: str) -> Record:
    return state.record("customers", customer_id, f"Customer with ID {customer_id} not found")


def line(state: State, line_id: str) -> Record:
    return state.record("lines", line_id, f"Line with ID {line_id} not found")


def bill(state: State, bill_id: str) -> Record:
    return state.record("bills", bill_id, f"Bill with ID {bill_id} not found")


def plan(state: State, plan_id: str) -> Record:
    return state.record("plans", plan_id, f"Plan with ID {plan_id} not found")


def device(state: State, device_id: str) -> Record:
    return state.record("devices", device_id, f"Device with ID {device_id} not found")


def line_of(state: State, customer_id: str, line_id: str) -> Record:
    """A line that the customer owns."""
    if line_id not in customer(state, customer_id)["line_ids"]:
        raise ToolError(f"Line {line_id} not found for customer {customer_id}")
    return line(state, line_id)


def bills_of(state: State, owner: Record) -> Iterator[Record]:
    """A customer's bills in the customer's order."""
    return (bill(state, bill_id) for bill_id in owner["bill_ids"])


def awaiting_payment(state: State, owner: Record) -> list[Record]:
    return [found for found in bills_of(state, owner) if found["status"] == "Awaiting Payment"]


def line_by_phone(state: State, phone_number: str) -> Record:
    found = _line_ids(state).get(phone_number)
    if found is None:
        raise ToolError(f"Line with phone number {phone_number} not found")
    return line(state, found)


def customer_by_phone(state: State, phone_number: str) -> Record:
    """By the customer's own number or that of one of the customer's lines."""
    found = _customer_ids(state).get(phone_number)
    if found is None:
        raise ToolError(f"Customer with phone number {phone_number} not found")
    return customer(state, found)


def _line_ids(state: State) -> dict[str, str]:
    """Line ids by phone number, the first of each; no tool changes a number."""

    def build() -> dict[str, str]:
        found: dict[str, str] = {}
        for key, record in state.agent.items("lines"):
            found.setdefault(record["phone_number"], key)
        return found

    return state.indexed("line ids", build)


def _customer_ids(state: State) -> dict[str, str]:
    """Customer ids by phone number, the first of each; no tool changes who owns a line."""

    def build() -> dict[str, str]:
        found: dict[str, str] = {}
        for key, record in state.agent.items("customers"):
            numbers = [record["phone_number"]]
            owned = (state.agent.get("lines", line_id) for line_id in record["line_ids"])
            numbers += [one["phone_number"] for one in owned if one is not None]
            for number in numbers:
                found.setdefault(number, key)
        return found

    return state.indexed("customer ids", build)
