"""Fees, free bags, and payments: what a payment method can pay for, and charging it.

Everything is checked before anything changes: a call that fails leaves the database as it was.
Gift cards lose what is paid. A certificate is used up by one booking, its remainder is lost, and it
can't pay for later changes of a reservation. Credit cards have no balance here.
"""

from collections.abc import Sequence
from typing import Any

from sea_env.domains.airline.records import Payment
from sea_env.domains.base import ToolError
from sea_env.domains.overlay import Record
from sea_env.domains.state import State

GIFT_CARD, CERTIFICATE = "gift_card", "certificate"
_LIMITED = frozenset({GIFT_CARD, CERTIFICATE})
BAG_FEE = 50
"""USD for each checked bag beyond the free ones."""
INSURANCE_FEE = 30
"""USD for each passenger."""
FREE_BAGS = {
    "regular": {"basic_economy": 0, "economy": 1, "business": 2},
    "silver": {"basic_economy": 1, "economy": 2, "business": 3},
    "gold": {"basic_economy": 2, "economy": 3, "business": 4},
}
"""Checked bags per passenger without a fee, by membership and cabin."""


def paid_bags(membership: str, cabin: str, passengers: int, bags: int) -> int:
    """How many of these bags exceed the free ones."""
    return max(0, bags - FREE_BAGS[membership][cabin] * passengers)


def check_booking(user: Record, payments: Sequence[Payment], price: int) -> None:
    """Raises ToolError unless these payments can pay exactly this price in USD."""
    methods = user["payment_methods"]
    for payment in payments:
        method = methods.get(payment["payment_id"])
        if method is None:
            raise ToolError(f"Payment method {payment['payment_id']} not found")
        if method["source"] in _LIMITED and method["amount"] < payment["amount"]:
            raise ToolError(f"Not enough balance in payment method {payment['payment_id']}")
    certificates = [
        p["payment_id"] for p in payments if methods[p["payment_id"]]["source"] == CERTIFICATE
    ]
    if len(set(certificates)) < len(certificates):
        raise ToolError("A certificate can be used once only")
    paid = sum(payment["amount"] for payment in payments)
    if paid != price:
        raise ToolError(f"Payment amount does not add up, total price is {price}, but paid {paid}")


def take(user: dict[str, Any], payments: Sequence[Payment]) -> None:
    """Takes payments that `check_booking` has checked from the user's editable record."""
    methods = user["payment_methods"]
    for payment in payments:
        payment_id = payment["payment_id"]
        source = methods[payment_id]["source"]
        if source == GIFT_CARD:
            methods[payment_id]["amount"] -= payment["amount"]
        elif source == CERTIFICATE:
            del methods[payment_id]


def settle(state: State, user: Record, payment_id: str, price: int) -> list[dict[str, Any]]:
    """Charges the price of a change in USD (refunds it if negative).

    Returns the entries for the reservation's payment history.
    """
    method = user["payment_methods"].get(payment_id)
    if method is None:
        raise ToolError("Payment method not found")
    if method["source"] == CERTIFICATE:
        raise ToolError("Certificate cannot be used to update reservation")
    if method["source"] == GIFT_CARD:
        if method["amount"] < price:
            raise ToolError("Gift card balance is not enough")
        if price:
            card = state.agent.edit("users", user["user_id"])["payment_methods"][payment_id]
            card["amount"] -= price
    return [{"payment_id": payment_id, "amount": price}] if price else []
