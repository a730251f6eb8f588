"""Errands that the policy doesn't allow: the agent looks, explains and changes nothing."""

from collections.abc import Callable

from sea_workloads.synthesis.desk import Desk
from sea_workloads.synthesis.procedural.retail.errand import Call, Errand
from sea_workloads.synthesis.procedural.retail.index import DELIVERED, PENDING, PROCESSED
from sea_workloads.synthesis.proposal import NothingFitsError

TRANSFERRED = "YOU ARE BEING TRANSFERRED TO A HUMAN AGENT. PLEASE HOLD ON."
_BAD_REASONS = ("found it cheaper elsewhere", "don't like the color", "had an argument at home")
_OUT_OF_SCOPE = (
    "change the email address of {my} account",
    "remove a stored payment method from {my} account",
    "complain to a manager about the courier who delivers here",
    "apply a voucher of another shop to {my} account",
)
_ACCEPT = "If the agent says that this isn't possible, you accept it and ask for nothing instead."


def too_late_to_cancel(call: Call) -> Errand:
    """An order that has left the pending state."""
    order = call.take(PROCESSED, DELIVERED)
    wish = f"cancel {call.name(order)}, because {{I}} no longer need it"
    why = (
        f"Order {order['order_id']} has the status '{order['status']}'. Only pending orders can "
        "be cancelled."
    )
    return _refused(call, wish, why, lambda desk: call.find(desk, order))


def too_early_to_return(call: Call) -> Errand:
    """An order that hasn't arrived."""
    order = call.take(PENDING, PROCESSED)
    item = call.rng.choice(order["items"])["name"]
    wish = f"return the {item} of {call.name(order)}"
    why = (
        f"Order {order['order_id']} has the status '{order['status']}'. Only delivered orders can "
        "be returned."
    )
    return _refused(call, wish, why, lambda desk: call.find(desk, order))


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
    return _refused(call, wish, why, lambda desk: call.find(desk, order), note)


def of_another(call: Call) -> Errand:
    """An order that belongs to somebody else."""
    foreign = call.rng.choice(call.index.by_status.get(PENDING) or [""])
    if not foreign or foreign in call.user["orders"]:
        raise NothingFitsError("no pending order belongs to another customer")
    why = f"Order {foreign} isn't yours. I can only help with your own orders."
    wish = f"cancel order {foreign}, which a friend placed and no longer needs"
    return _refused(call, wish, why, lambda desk: desk.call("get_order_details", order_id=foreign))


def out_of_scope(call: Call) -> Errand:
    """Something that no tool can do: the only case for a transfer."""
    wish = call.rng.choice(_OUT_OF_SCOPE)

    def settle(desk: Desk) -> str:
        summary = f"The customer wants to {wish.replace('{my}', 'their')}."
        desk.call("transfer_to_human_agents", summary=summary)
        return TRANSFERRED

    return Errand(wish, settle, transfers=True)


def _refused(
    call: Call, wish: str, why: str, look: Callable[[Desk], object], note: str = ""
) -> Errand:
    def settle(desk: Desk) -> str:
        look(desk)
        desk.agent(f"I am sorry, but I can't do that. {why} {call.voice.anything_else()}")
        desk.user(call.voice.resigned())
        return "I am sorry that I couldn't do more about it."

    return Errand(wish, settle, note=f"{note} {_ACCEPT}".strip())
