"""Retail goals that change an order: return, exchange; cancel, change address, items or payment."""

import random
from collections.abc import Sequence
from typing import Any

from sea_data.synthesis.candidate import DialogueBuilder, NoCandidateError
from sea_data.synthesis.procedural.goals import Goal
from sea_data.synthesis.procedural.retail.customer_call import (
    DELIVERED,
    PENDING,
    CustomerCall,
    Record,
    distinct_methods,
    method_text,
    money,
    options_text,
)

Swap = tuple[Record, Record]
"""An item of an order and the variant that replaces it."""


def exchange(call: CustomerCall) -> Goal:
    """Exchange items of a delivered order for other variants of the same products."""
    return swaps(call, call.take(DELIVERED), "exchange_delivered_order_items", "exchange")


def swaps(call: CustomerCall, order: Record, tool: str, verb: str, most: int = 2) -> Goal:
    """Replace at most `most` items of an order and settle the price difference."""
    chosen = _swaps(call, order, most)
    difference = round(sum(new["price"] - old["price"] for old, new in chosen), 2)
    method = _payer(call, difference)
    words, order_id = method_text(method), order["order_id"]
    named = _named(chosen)

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, order)
        call.read_profile(dialogue)
        for product_id in dict.fromkeys(old["product_id"] for old, _ in chosen):
            dialogue.call("get_product_details", product_id=product_id)
        owed = "you pay" if difference > 0 else "you get back"
        question = (
            f"In order {order_id} I will {verb} {named}; {owed} ${money(abs(difference))} with "
            f"your {words}. This can be done only once for an order, so please make sure that "
            "nothing is missing."
        )
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call(
            tool,
            order_id=order_id,
            item_ids=[old["item_id"] for old, _ in chosen],
            new_item_ids=[new["item_id"] for _, new in chosen],
            payment_method_id=method["id"],
        )
        return f"That is arranged: in order {order_id}, {named}."

    request = f"{verb} {named} in {call.name(order)}, and settle the price difference with {{my}}"
    return Goal(f"{request} {words}", resolve)


def give_back(call: CustomerCall) -> Goal:
    """Return items of a delivered order, with a refund that the policy allows."""
    order = call.take(DELIVERED)
    # The customer can't name one of two items of a kind.
    single = [i for i in order["items"] if _count(order, i["name"]) == 1]
    if not single:
        raise NoCandidateError("no delivered order holds an item that is alone of its kind")
    chosen = call.rng.sample(single, call.rng.randint(1, min(3, len(single))))
    method = _refund_method(call, order)
    words, order_id = method_text(method), order["order_id"]
    named = _list([f"the {item['name']}" for item in chosen])

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, order)
        call.read_profile(dialogue)
        question = f"I will return {named} of order {order_id}; the refund goes to your {words}."
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call(
            "return_delivered_order_items",
            order_id=order_id,
            item_ids=[item["item_id"] for item in chosen],
            payment_method_id=method["id"],
        )
        return "The return is requested. You will receive an email on how to send the items back."

    request = f"return {named} of {call.name(order)} and get the refund on {{my}} {words}"
    return Goal(request, resolve)


def _refund_method(call: CustomerCall, order: Record) -> Record:
    original = order["payment_history"][0]["payment_method_id"]
    allowed = [
        method
        for method in distinct_methods(call.user)
        if method["id"] == original or method["source"] == "gift_card"
    ]
    if not allowed:
        raise NoCandidateError("no customer can name the payment method of a delivered order")
    return call.rng.choice(allowed)


def _swaps(call: CustomerCall, order: Record, most: int) -> list[Swap]:
    able = [
        (item, found)
        for item in order["items"]
        if _count(order, item["name"]) == 1 and (found := call.index.replacements(item))
    ]
    if not able:
        raise NoCandidateError("no order in the wanted state holds an item with another variant")
    chosen = call.rng.sample(able, call.rng.randint(1, min(most, len(able))))
    return [(item, call.rng.choice(found)) for item, found in chosen]


def _payer(call: CustomerCall, difference: float) -> Record:
    # Twice the difference: another goal of the same call may use the card too.
    able = [
        method
        for method in distinct_methods(call.user)
        if method["source"] != "gift_card" or method["balance"] >= 2 * difference
    ]
    if not able:
        raise NoCandidateError("no customer has a payment method that covers the difference")
    return call.rng.choice(able)


def _named(chosen: Sequence[Swap]) -> str:
    return _list([f"the {old['name']} for {_described(new)}" for old, new in chosen])


def _described(variant: Record) -> str:
    return f"the one with {options_text(variant['options'])}"


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _count(order: Record, name: str) -> int:
    return sum(item["name"] == name for item in order["items"])


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


def cancel(call: CustomerCall) -> Goal:
    """Cancel a pending order, for one of the two reasons that the policy accepts."""
    order = call.take(PENDING)
    reason = call.rng.choice(sorted(_REASONS))
    words = call.rng.choice(_REASONS[reason])
    order_id, amount = order["order_id"], order["payment_history"][0]["amount"]

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, order)
        question = (
            f"I can cancel the pending order {order_id} with the reason '{reason}'. The total of "
            f"${money(amount)} is refunded to the original payment method."
        )
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call("cancel_pending_order", order_id=order_id, reason=reason)
        return f"Order {order_id} is cancelled, and ${money(amount)} will be refunded."

    return Goal(f"cancel {call.name(order)}, because {words}", resolve)


def address(call: CustomerCall) -> Goal:
    """Send a pending order to another address."""
    order = call.take(PENDING)
    place = _place(call.rng)
    order_id = order["order_id"]

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, order)
        question = f"Order {order_id} will be shipped to {address_text(place)}."
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call("modify_pending_order_address", order_id=order_id, **place)
        return f"Order {order_id} now goes to {address_text(place)}."

    return Goal(f"have {call.name(order)} shipped to {address_text(place)}", resolve)


def home(call: CustomerCall) -> Goal:
    """Change the customer's default address."""
    place = _place(call.rng)

    def resolve(dialogue: DialogueBuilder) -> str:
        call.read_profile(dialogue)
        question = f"I will set your default address to {address_text(place)}."
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call("modify_user_address", user_id=call.user["user_id"], **place)
        return f"Your default address is now {address_text(place)}."

    return Goal(f"change {{my}} default address to {address_text(place)}", resolve)


def items(call: CustomerCall) -> Goal:
    """Replace an item of a pending order by another variant.

    Only one: with several, the end state depends on the order of the tool's arguments.
    """
    return swaps(call, call.take(PENDING), "modify_pending_order_items", "change", most=1)


def payment(call: CustomerCall) -> Goal:
    """Pay a pending order with another payment method."""
    order = call.take(PENDING)
    paid = order["payment_history"][0]
    able = [
        method
        for method in distinct_methods(call.user)
        if method["id"] != paid["payment_method_id"]
        and method.get("balance", paid["amount"]) >= paid["amount"]
    ]
    if not able:
        raise NoCandidateError("no customer with a pending order has a second payment method")
    method = call.rng.choice(able)
    order_id, words = order["order_id"], method_text(method)

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, order)
        call.read_profile(dialogue)
        question = (
            f"I will charge ${money(paid['amount'])} for order {order_id} to your {words} and "
            "refund the original payment."
        )
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call(
            "modify_pending_order_payment", order_id=order_id, payment_method_id=method["id"]
        )
        return f"Order {order_id} is now paid with your {words}."

    return Goal(f"pay {call.name(order)} with {{my}} {words} instead", resolve)


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
