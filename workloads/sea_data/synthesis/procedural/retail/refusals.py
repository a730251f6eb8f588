"""Errands that the policy doesn't allow: the agent looks, explains and changes nothing."""

from sea_data.synthesis.procedural.calling import refused, transferred
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.retail.errand import Call
from sea_data.synthesis.procedural.retail.index import DELIVERED, PENDING, PROCESSED
from sea_data.synthesis.proposal import NothingFitsError

_BAD_REASONS = ("found it cheaper elsewhere", "don't like the color", "had an argument at home")
_OUT_OF_SCOPE = (
    "change the email address of {my} account",
    "remove a stored payment method from {my} account",
    "complain to a manager about the courier who delivers here",
    "apply a voucher of another shop to {my} account",
)


def too_late_to_cancel(call: Call) -> Errand:
    """An order that has left the pending state."""
    order = call.take(PROCESSED, DELIVERED)
    wish = f"cancel {call.name(order)}, because {{I}} no longer need it"
    why = (
        f"Order {order['order_id']} has the status '{order['status']}'. Only pending orders can "
        "be cancelled."
    )
    return refused(wish, why, lambda desk: call.find(desk, order), call.voice)


def too_early_to_return(call: Call) -> Errand:
    """An order that hasn't arrived."""
    order = call.take(PENDING, PROCESSED)
    item = call.rng.choice(order["items"])["name"]
    wish = f"return the {item} of {call.name(order)}"
    why = (
        f"Order {order['order_id']} has the status '{order['status']}'. Only delivered orders can "
        "be returned."
    )
    return refused(wish, why, lambda desk: call.find(desk, order), call.voice)


def other_reason(call: Call) -> Errand:
    """A pending order, but for a reason that isn't acceptable."""
    order = call.take(PENDING)
    reason = call.rng.choice(_BAD_REASONS)
    wish = f"cancel {call.name(order)}, because {{I}} {reason}"
    why = (
        "An order can only be cancelled because it is no longer needed or was ordered by mistake; "
        "I can't accept another reason."
    )
    note = f"Your only reason is that you {reason}; you never give another one."
    return refused(wish, why, lambda desk: call.find(desk, order), call.voice, note)


def of_another(call: Call) -> Errand:
    """An order that belongs to somebody else."""
    foreign = call.rng.choice(call.index.by_status.get(PENDING) or [""])
    if not foreign or foreign in call.user["orders"]:
        raise NothingFitsError("no pending order belongs to another customer")
    why = f"Order {foreign} isn't yours. I can only help with your own orders."
    wish = f"cancel order {foreign}, which a friend placed and no longer needs"
    return refused(
        wish, why, lambda desk: desk.call("get_order_details", order_id=foreign), call.voice
    )


def out_of_scope(call: Call) -> Errand:
    """Something that no tool can do: the only case for a transfer."""
    return transferred(call.rng.choice(_OUT_OF_SCOPE))
