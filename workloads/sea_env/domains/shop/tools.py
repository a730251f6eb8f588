"""The shop's six tools. They require an identified customer, and don't enforce the policy.

The policy (only pending orders may be cancelled, ...) is the agent's job; a violation shows in the
database.
"""

from typing import Any

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.overlay import Record
from sea_env.domains.state import State
from sea_env.domains.toolkit import tool

DESK = "state"


def _order(state: State, order: str) -> Record:
    record = state.agent.get("orders", order)
    if record is None:
        raise ToolError("no such order")
    if record["email"] != state.session.get("email"):
        raise ToolError("not this customer's order")
    return record


@tool(Kind.READ)
def find_user(state: State, email: str) -> dict[str, Any]:
    """Identify the customer."""
    user = state.agent.get("users", email)
    if user is None:
        raise ToolError("no such customer")
    state.session["email"] = email
    return {"name": user["name"]}


@tool(Kind.READ)
def get_order(state: State, order: str) -> dict[str, Any]:
    """Status and total of an order."""
    record = _order(state, order)
    return {"status": record["status"], "total": record["total"]}


@tool(Kind.WRITE)
def cancel_order(state: State, order: str) -> dict[str, Any]:
    """Cancel an order."""
    _order(state, order)
    state.agent.edit("orders", order)["status"] = "cancelled"
    return {"status": "cancelled"}


@tool(Kind.WRITE)
def change_address(state: State, order: str, address: str) -> dict[str, Any]:
    """Send an order to another address."""
    _order(state, order)
    state.agent.edit("orders", order)["address"] = address
    return {"address": address}


@tool(Kind.WRITE)
def refund(state: State, order: str, amount: int) -> dict[str, Any]:
    """Pay money back for an order."""
    record = _order(state, order)
    if not 0 < amount <= record["total"]:
        raise ToolError("amount out of range")
    edited = state.agent.edit("orders", order)
    edited["refunded"] = amount
    return {"refunded": amount}


@tool(Kind.WRITE)
def transfer(state: State) -> dict[str, Any]:
    """Hand the customer over to a person."""
    state.agent.edit("desk", DESK)["transferred"] = True
    return {"transferred": True}


TOOLS = (find_user, get_order, cancel_order, change_address, refund, transfer)
