"""Retail goals that change nothing: questions, requests that the policy refuses, a transfer."""

from sea_data.synthesis.candidate import DialogueBuilder, NoCandidateError
from sea_data.synthesis.procedural.goals import Goal, refused, transferred
from sea_data.synthesis.procedural.retail.customer_call import (
    DELIVERED,
    PENDING,
    PROCESSED,
    CustomerCall,
    is_unambiguous,
    money,
)


def total(call: CustomerCall) -> Goal:
    """Ask what an order cost."""
    order = call.take(PENDING, PROCESSED, DELIVERED)
    amount = order["payment_history"][0]["amount"]
    if not is_unambiguous(amount):
        raise NoCandidateError("no order has a total that is written in one way only")

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, order)
        return f"You paid ${money(amount)} in total for order {order['order_id']}."

    request = f"know how much {{I}} paid in total for {call.name(order)}"
    return Goal(request, resolve, (money(amount),))


def tracking(call: CustomerCall) -> Goal:
    """Ask for the tracking number of an order."""
    order = call.take(PROCESSED, DELIVERED)
    found = [number for f in order["fulfillments"] for number in f["tracking_id"]]
    if len(found) != 1:
        raise NoCandidateError("no order has exactly one tracking number")

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, order)
        return f"The tracking number of order {order['order_id']} is {found[0]}."

    return Goal(f"know the tracking number of {call.name(order)}", resolve, (found[0],))


def cheapest(call: CustomerCall) -> Goal:
    """Ask for the lowest price of an available product."""
    product = call.rng.choice(list(call.index.products.values()))
    prices = [v["price"] for v in product["variants"].values() if v["available"]]
    if not prices or not is_unambiguous(min(prices)):
        raise NoCandidateError("no product has a price that is written in one way only")

    def resolve(dialogue: DialogueBuilder) -> str:
        dialogue.call("list_all_product_types")
        dialogue.call("get_product_details", product_id=product["product_id"])
        return f"The cheapest {product['name']} that is available costs ${money(min(prices))}."

    request = f"know the price of the cheapest {product['name']} that is available"
    return Goal(request, resolve, (money(min(prices)),))


_BAD_REASONS = ("found it cheaper elsewhere", "don't like the color", "had an argument at home")
_OUT_OF_SCOPE = (
    "change the email address of {my} account",
    "remove a stored payment method from {my} account",
    "complain to a manager about the courier who delivers here",
    "apply a voucher of another shop to {my} account",
)


def too_late_to_cancel(call: CustomerCall) -> Goal:
    """Cancel an order that is no longer pending."""
    order = call.take(PROCESSED, DELIVERED)
    request = f"cancel {call.name(order)}, because {{I}} no longer need it"
    why = (
        f"Order {order['order_id']} has the status '{order['status']}'. Only pending orders can "
        "be cancelled."
    )
    return refused(request, why, lambda dialogue: call.find(dialogue, order), call.phrasing)


def too_early_to_return(call: CustomerCall) -> Goal:
    """Return items of an order that hasn't arrived."""
    order = call.take(PENDING, PROCESSED)
    item = call.rng.choice(order["items"])["name"]
    request = f"return the {item} of {call.name(order)}"
    why = (
        f"Order {order['order_id']} has the status '{order['status']}'. Only delivered orders can "
        "be returned."
    )
    return refused(request, why, lambda dialogue: call.find(dialogue, order), call.phrasing)


def other_reason(call: CustomerCall) -> Goal:
    """Cancel a pending order for a reason that the policy doesn't accept."""
    order = call.take(PENDING)
    reason = call.rng.choice(_BAD_REASONS)
    request = f"cancel {call.name(order)}, because {{I}} {reason}"
    why = (
        "An order can only be cancelled because it is no longer needed or was ordered by mistake; "
        "I can't accept another reason."
    )
    note = f"Your only reason is that you {reason}; you never give another one."
    return refused(request, why, lambda dialogue: call.find(dialogue, order), call.phrasing, note)


def of_another(call: CustomerCall) -> Goal:
    """Cancel another customer's order."""
    foreign = call.rng.choice(call.index.by_status.get(PENDING) or [""])
    if not foreign or foreign in call.user["orders"]:
        raise NoCandidateError("no pending order belongs to another customer")
    why = f"Order {foreign} isn't yours. I can only help with your own orders."
    request = f"cancel order {foreign}, which a friend placed and no longer needs"
    return refused(
        request,
        why,
        lambda dialogue: dialogue.call("get_order_details", order_id=foreign),
        call.phrasing,
    )


def out_of_scope(call: CustomerCall) -> Goal:
    """Ask for something that no tool can do: the only case for a transfer."""
    return transferred(call.rng.choice(_OUT_OF_SCOPE))
