"""Errands on pending orders: cancel, another address, another item, another payment."""

import random
from typing import Any

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.retail.delivered import swaps
from sea_data.synthesis.procedural.retail.errand import Call
from sea_data.synthesis.procedural.retail.index import (
    PENDING,
    distinct_methods,
    method_text,
    money,
)
from sea_data.synthesis.proposal import NothingFitsError

_REASONS = {
    "no longer needed": ("{I} no longer need it", "{I} have no need for it any more"),
    "ordered by mistake": ("it was ordered by mistake", "{I} ordered it by mistake"),
}
_STREETS = ("Maple Avenue", "Cedar Street", "Harbor Road", "Willow Lane", "Station Road", "Elm Way")
_CITIES = (
    ("Austin", "TX", "787"),
    ("Denver", "CO", "802"),
    ("Seattle", "WA", "981"),
    ("Chicago", "IL", "606"),
    ("Boston", "MA", "021"),
    ("Phoenix", "AZ", "850"),
    ("Portland", "OR", "972"),
)


def cancel(call: Call) -> Errand:
    """A pending order, for one of the two reasons that count."""
    order = call.take(PENDING)
    reason = call.rng.choice(sorted(_REASONS))
    words = call.rng.choice(_REASONS[reason])
    order_id, amount = order["order_id"], order["payment_history"][0]["amount"]

    def settle(desk: Desk) -> str:
        call.find(desk, order)
        question = (
            f"I can cancel the pending order {order_id} with the reason '{reason}'. The total of "
            f"${money(amount)} is refunded to the original payment method."
        )
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call("cancel_pending_order", order_id=order_id, reason=reason)
        return f"Order {order_id} is cancelled, and ${money(amount)} will be refunded."

    return Errand(f"cancel {call.name(order)}, because {words}", settle)


def address(call: Call) -> Errand:
    """A pending order goes to another address."""
    order = call.take(PENDING)
    place = _place(call.rng)
    order_id = order["order_id"]

    def settle(desk: Desk) -> str:
        call.find(desk, order)
        question = f"Order {order_id} will be shipped to {address_text(place)}."
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call("modify_pending_order_address", order_id=order_id, **place)
        return f"Order {order_id} now goes to {address_text(place)}."

    return Errand(f"have {call.name(order)} shipped to {address_text(place)}", settle)


def home(call: Call) -> Errand:
    """The customer's default address changes."""
    place = _place(call.rng)

    def settle(desk: Desk) -> str:
        call.read_profile(desk)
        question = f"I will set your default address to {address_text(place)}."
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call("modify_user_address", user_id=call.user["user_id"], **place)
        return f"Your default address is now {address_text(place)}."

    return Errand(f"change {{my}} default address to {address_text(place)}", settle)


def items(call: Call) -> Errand:
    """An item of a pending order is replaced by another variant.

    One only: with several, the end state depends on the order in which the tool is given them.
    """
    return swaps(call, call.take(PENDING), "modify_pending_order_items", "change", most=1)


def payment(call: Call) -> Errand:
    """A pending order is paid in another way."""
    order = call.take(PENDING)
    paid = order["payment_history"][0]
    able = [
        method
        for method in distinct_methods(call.user)
        if method["id"] != paid["payment_method_id"]
        and method.get("balance", paid["amount"]) >= paid["amount"]
    ]
    if not able:
        raise NothingFitsError("no customer with a pending order has a second payment method")
    method = call.rng.choice(able)
    order_id, words = order["order_id"], method_text(method)

    def settle(desk: Desk) -> str:
        call.find(desk, order)
        call.read_profile(desk)
        question = (
            f"I will charge ${money(paid['amount'])} for order {order_id} to your {words} and "
            "refund the original payment."
        )
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call("modify_pending_order_payment", order_id=order_id, payment_method_id=method["id"])
        return f"Order {order_id} is now paid with your {words}."

    return Errand(f"pay {call.name(order)} with {{my}} {words} instead", settle)


def _place(rng: random.Random) -> dict[str, Any]:
    city, state, zip_start = rng.choice(_CITIES)
    return {
        "address1": f"{rng.randint(10, 999)} {rng.choice(_STREETS)}",
        "address2": f"Suite {rng.randint(100, 999)}",
        "city": city,
        "state": state,
        "country": "USA",
        "zip": f"{zip_start}{rng.randint(0, 99):02}",
    }


def address_text(place: dict[str, Any]) -> str:
    parts = ("address1", "address2", "city", "state", "country", "zip")
    return ", ".join(str(place[part]) for part in parts)
