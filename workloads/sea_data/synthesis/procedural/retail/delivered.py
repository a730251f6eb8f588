"""Errands on delivered orders: return, exchange; and the swap that pending orders share."""

from collections.abc import Sequence

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.retail.errand import Call
from sea_data.synthesis.procedural.retail.index import (
    DELIVERED,
    Record,
    distinct_methods,
    method_text,
    money,
    options_text,
)
from sea_data.synthesis.proposal import NothingFitsError

Swap = tuple[Record, Record]
"""An item of an order and the variant that takes its place."""


def exchange(call: Call) -> Errand:
    """Items of a delivered order for other variants of the same products."""
    return swaps(call, call.take(DELIVERED), "exchange_delivered_order_items", "exchange")


def swaps(call: Call, order: Record, tool: str, verb: str, most: int = 2) -> Errand:
    """At most `most` items of an order, the difference on a payment method of the customer's."""
    chosen = _swaps(call, order, most)
    difference = round(sum(new["price"] - old["price"] for old, new in chosen), 2)
    method = _payer(call, difference)
    words, order_id = method_text(method), order["order_id"]
    named = _named(chosen)

    def settle(desk: Desk) -> str:
        call.find(desk, order)
        call.read_profile(desk)
        for product_id in dict.fromkeys(old["product_id"] for old, _ in chosen):
            desk.call("get_product_details", product_id=product_id)
        owed = "you pay" if difference > 0 else "you get back"
        question = (
            f"In order {order_id} I will {verb} {named}; {owed} ${money(abs(difference))} with "
            f"your {words}. This can be done only once for an order, so please make sure that "
            "nothing is missing."
        )
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call(
            tool,
            order_id=order_id,
            item_ids=[old["item_id"] for old, _ in chosen],
            new_item_ids=[new["item_id"] for _, new in chosen],
            payment_method_id=method["id"],
        )
        return f"That is arranged: in order {order_id}, {named}."

    wish = f"{verb} {named} in {call.name(order)}, and settle the price difference with {{my}}"
    return Errand(f"{wish} {words}", settle)


def give_back(call: Call) -> Errand:
    """Items of a delivered order go back; the refund as the policy allows."""
    order = call.take(DELIVERED)
    # Two of one kind can't be told apart in words.
    single = [i for i in order["items"] if _count(order, i["name"]) == 1]
    if not single:
        raise NothingFitsError("no delivered order holds an item that is alone of its kind")
    chosen = call.rng.sample(single, call.rng.randint(1, min(3, len(single))))
    method = _refund_method(call, order)
    words, order_id = method_text(method), order["order_id"]
    named = _list([f"the {item['name']}" for item in chosen])

    def settle(desk: Desk) -> str:
        call.find(desk, order)
        call.read_profile(desk)
        question = f"I will return {named} of order {order_id}; the refund goes to your {words}."
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call(
            "return_delivered_order_items",
            order_id=order_id,
            item_ids=[item["item_id"] for item in chosen],
            payment_method_id=method["id"],
        )
        return "The return is requested. You will receive an email on how to send the items back."

    wish = f"return {named} of {call.name(order)} and get the refund on {{my}} {words}"
    return Errand(wish, settle)


def _refund_method(call: Call, order: Record) -> Record:
    original = order["payment_history"][0]["payment_method_id"]
    allowed = [
        method
        for method in distinct_methods(call.user)
        if method["id"] == original or method["source"] == "gift_card"
    ]
    if not allowed:
        raise NothingFitsError("no customer can name the payment method of a delivered order")
    return call.rng.choice(allowed)


def _swaps(call: Call, order: Record, most: int) -> list[Swap]:
    able = [
        (item, found)
        for item in order["items"]
        if _count(order, item["name"]) == 1 and (found := call.index.replacements(item))
    ]
    if not able:
        raise NothingFitsError("no order in the wanted state holds an item with another variant")
    chosen = call.rng.sample(able, call.rng.randint(1, min(most, len(able))))
    return [(item, call.rng.choice(found)) for item, found in chosen]


def _payer(call: Call, difference: float) -> Record:
    # Twice the difference: another errand of the same call may draw on the card too.
    able = [
        method
        for method in distinct_methods(call.user)
        if method["source"] != "gift_card" or method["balance"] >= 2 * difference
    ]
    if not able:
        raise NothingFitsError("no customer has a payment method that covers the difference")
    return call.rng.choice(able)


def _named(chosen: Sequence[Swap]) -> str:
    return _list([f"the {old['name']} for {_described(new)}" for old, new in chosen])


def _described(variant: Record) -> str:
    return f"the one with {options_text(variant['options'])}"


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _count(order: Record, name: str) -> int:
    return sum(item["name"] == name for item in order["items"])
