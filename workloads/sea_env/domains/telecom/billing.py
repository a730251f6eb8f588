"""Bills: payment requests, one-time charges, payments."""

import hashlib
from typing import Any

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.edited_record import extend
from sea_env.domains.overlay import Record
from sea_env.domains.state import State
from sea_env.domains.telecom import lookup
from sea_env.domains.telecom.clock import TODAY, bill_dates
from sea_env.domains.toolkit import tool


@tool(Kind.WRITE)
def send_payment_request(state: State, customer_id: str, bill_id: str) -> str:
    """Ask a customer to pay a bill, which then awaits payment. Only one bill may await payment at
    a time. Whether the bill is overdue isn't checked: look first."""
    customer = lookup.customer(state, customer_id)
    if lookup.awaiting_payment(state, customer):
        raise ToolError("A bill is already awaiting payment for this customer")
    if bill_id not in customer["bill_ids"]:
        raise ToolError(f"Bill {bill_id} not found for customer {customer_id}")
    lookup.bill(state, bill_id)
    state.agent.edit("bills", bill_id)["status"] = "Awaiting Payment"
    return f"Payment request sent to the customer for bill {bill_id}"


def set_paid(state: State, bill_id: str) -> None:
    """Marks a bill as paid."""
    lookup.bill(state, bill_id)
    state.agent.edit("bills", bill_id)["status"] = "Paid"


def charge(state: State, customer_id: str, amount: float, description: str) -> None:
    """Adds an item (USD) to the customer's draft bill, or to a new one for next month."""
    customer = lookup.customer(state, customer_id)
    drafts = (b["bill_id"] for b in lookup.bills_of(state, customer) if b["status"] == "Draft")
    bill_id = next(drafts, None) or add_bill(
        state, customer, new_bill_id(customer), bill_dates(1), "Draft"
    )
    add_item(state, bill_id, amount, description)


def new_bill_id(customer: Record) -> str:
    """tau2-bench draws these ids at random; here customer and number of bills determine them."""
    seed = f"{customer['customer_id']}/{len(customer['bill_ids'])}"
    return f"B{hashlib.sha256(seed.encode()).hexdigest()[:8]}"


def add_bill(
    state: State, customer: Record, bill_id: str, dates: dict[str, str], status: str
) -> str:
    """Adds an empty bill to the customer; returns its id. ToolError if the id exists."""
    if state.agent.get("bills", bill_id) is not None:
        raise ToolError(f"There is a bill {bill_id} already")
    record: dict[str, Any] = {
        "bill_id": bill_id,
        "customer_id": customer["customer_id"],
        "period_start": dates["period_start"],
        "period_end": dates["period_end"],
        "issue_date": dates["issue_date"],
        "total_due": 0.0,
        "due_date": dates["due_date"],
        "line_items": [],
        "status": status,
    }
    state.agent.put("bills", bill_id, record)
    extend(state.agent.edit("customers", customer["customer_id"]), "bill_ids", [bill_id])
    return bill_id


def add_item(state: State, bill_id: str, amount: float, description: str) -> None:
    """Adds an item (USD) with today's date to a bill; negative amounts are credits."""
    bill = state.agent.edit("bills", bill_id)
    item = {
        "description": description,
        "amount": float(amount),
        "date": TODAY.isoformat(),
        "item_type": "Credit" if amount < 0 else "Charge",
    }
    extend(bill, "line_items", [item])
    bill["total_due"] += amount
