"""Carries over what one side's state means to the other: the line's to the phone, a payment's to
the bill.

It writes only values that differ, so that an episode holds no more than what changed.
"""

from sea_env.domains.state import State
from sea_env.domains.telecom import billing, lookup

_SURROUNDINGS = "surroundings"


def sync(state: State) -> None:
    """Idempotent. Raises ToolError if the user's phone number has no line."""
    phone_number = state.user.value(_SURROUNDINGS, "phone_number")
    if phone_number is None:
        return
    line = lookup.line_by_phone(state, phone_number)
    plan = lookup.plan(state, line["plan_id"])
    limit = plan["data_limit_gb"] + line["data_refueling_gb"]
    around = state.user
    around.set(_SURROUNDINGS, "line_active", line["status"] == "Active")
    around.set(_SURROUNDINGS, "roaming_allowed", line["roaming_enabled"])
    around.set(_SURROUNDINGS, "mobile_data_usage_exceeded", line["data_used_gb"] >= limit)
    # In this order: a paid request must be gone before the next bill can become one.
    _settle(state)
    _request(state, phone_number)


def _settle(state: State) -> None:
    """Marks the bill of a paid request as paid and removes the request."""
    request = state.user.value(_SURROUNDINGS, "payment_request")
    if request is not None and request["paid"]:
        billing.set_paid(state, request["bill_id"])
        state.user.set(_SURROUNDINGS, "payment_request", None)


def _request(state: State, phone_number: str) -> None:
    """Makes the first bill that awaits payment the user's request, unless there is one already."""
    if state.user.value(_SURROUNDINGS, "payment_request") is not None:
        return
    waiting = lookup.awaiting_payment(state, lookup.customer_by_phone(state, phone_number))
    if waiting:
        request = {
            "bill_id": waiting[0]["bill_id"],
            "amount_due": waiting[0]["total_due"],
            "paid": False,
        }
        state.user.set(_SURROUNDINGS, "payment_request", request)
