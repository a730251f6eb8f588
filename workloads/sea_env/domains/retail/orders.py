"""Retail tools that change pending orders (cancel, address, payment) and a user's address."""

from collections.abc import Mapping
from typing import Any

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.edited_record import assign, extend
from sea_env.domains.retail import lookup
from sea_env.domains.state import State
from sea_env.domains.toolkit import tool

REASONS = frozenset({"no longer needed", "ordered by mistake"})


def payment(kind: str, amount: float, payment_method_id: str) -> dict[str, Any]:
    """One entry of an order's payment history."""
    return {
        "transaction_type": kind,
        "amount": amount,
        "payment_method_id": payment_method_id,
    }


def address(
    address1: str, address2: str, city: str, state: str, country: str, zip_code: str
) -> dict[str, Any]:
    """An address as records hold it."""
    return {
        "address1": address1,
        "address2": address2,
        "city": city,
        "country": country,
        "state": state,
        "zip": zip_code,
    }


def _require_pending(order: Mapping[str, Any]) -> None:
    # Includes "pending (item modified)": tau2-bench lets such orders change address and payment.
    if "pending" not in order["status"]:
        raise ToolError("Non-pending order cannot be modified")


@tool(Kind.WRITE)
def cancel_pending_order(state: State, order_id: str, reason: str) -> Mapping[str, Any]:
    """Cancel a pending order. The reason is 'no longer needed' or 'ordered by mistake'. Ask the
    user for an explicit confirmation (yes) first."""
    order = lookup.order(state, order_id)
    if order["status"] != "pending":
        raise ToolError("Non-pending order cannot be cancelled")
    if reason not in REASONS:
        raise ToolError("Invalid reason")
    refunds = [
        payment("refund", entry["amount"], entry["payment_method_id"])
        for entry in order["payment_history"]
    ]
    # All lookups before the first write: a call that fails must leave the database as it was.
    to_cards = [
        entry
        for entry in refunds
        if lookup.payment_method(state, order["user_id"], entry["payment_method_id"])["source"]
        == lookup.GIFT_CARD
    ]
    for entry in to_cards:
        lookup.add_to_gift_card(
            state, order["user_id"], entry["payment_method_id"], entry["amount"]
        )
    edited = state.agent.edit("orders", order_id)
    assign(edited, status="cancelled", cancel_reason=reason)
    extend(edited, "payment_history", refunds)
    return edited


@tool(Kind.WRITE)
def modify_pending_order_address(
    episode: State,
    order_id: str,
    address1: str,
    address2: str,
    city: str,
    state: str,
    country: str,
    zip: str,  # noqa: A002 - the tool's argument is called zip
) -> Mapping[str, Any]:
    """Change the shipping address of a pending order. Ask the user for an explicit confirmation
    (yes) first."""
    _require_pending(lookup.order(episode, order_id))
    edited = episode.agent.edit("orders", order_id)
    edited["address"] = address(address1, address2, city, state, country, zip)
    return edited


@tool(Kind.WRITE)
def modify_pending_order_payment(
    state: State, order_id: str, payment_method_id: str
) -> Mapping[str, Any]:
    """Change the payment method of a pending order. Ask the user for an explicit confirmation
    (yes) first."""
    order = lookup.order(state, order_id)
    _require_pending(order)
    method = lookup.payment_method(state, order["user_id"], payment_method_id)
    history = order["payment_history"]
    if len(history) != 1 or history[0]["transaction_type"] != "payment":
        raise ToolError("There should be exactly one payment for a pending order")
    old, amount = history[0]["payment_method_id"], history[0]["amount"]
    if old == payment_method_id:
        raise ToolError("The new payment method should be different from the current one")
    if method["source"] == lookup.GIFT_CARD and method["balance"] < amount:
        raise ToolError("Insufficient gift card balance to pay for the order")
    lookup.payment_method(state, order["user_id"], old)
    edited = state.agent.edit("orders", order_id)
    entries = [payment("payment", amount, payment_method_id), payment("refund", amount, old)]
    extend(edited, "payment_history", entries)
    lookup.add_to_gift_card(state, order["user_id"], payment_method_id, -amount)
    lookup.add_to_gift_card(state, order["user_id"], old, amount)
    return edited


@tool(Kind.WRITE)
def modify_user_address(
    episode: State,
    user_id: str,
    address1: str,
    address2: str,
    city: str,
    state: str,
    country: str,
    zip: str,  # noqa: A002 - the tool's argument is called zip
) -> Mapping[str, Any]:
    """Change the default address of a user. Ask the user for an explicit confirmation (yes)
    first."""
    lookup.user(episode, user_id)
    edited = episode.agent.edit("users", user_id)
    edited["address"] = address(address1, address2, city, state, country, zip)
    return edited
