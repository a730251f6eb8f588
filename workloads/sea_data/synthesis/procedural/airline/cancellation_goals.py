"""Airline goals to cancel a reservation or be compensated, granted and refused."""

from sea_data.synthesis.dialogue_builder import DialogueBuilder
from sea_data.synthesis.procedural.airline.customer_call import (
    AirlineIndex,
    CustomerCall,
    Record,
    has_left,
    is_entitled,
    is_recent,
    may_be_cancelled,
    must_stay,
    was_cancelled,
)
from sea_data.synthesis.procedural.goals import Goal, refused, transferred

_CERTIFICATE = 100
"""USD per passenger for a cancelled flight."""


def cancel(call: CustomerCall) -> Goal:
    """Cancel a reservation that the policy allows to cancel."""
    one = call.take(may_be_cancelled)
    key, reason = one["reservation_id"], _reason(call, one)

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, one)
        paid = sum(entry["amount"] for entry in one["payment_history"])
        question = (
            f"I can cancel the whole reservation {key} ({one['origin']} to {one['destination']}). "
            f"${paid:g} goes back to where it came from within 5 to 7 business days."
        )
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call("cancel_reservation", reservation_id=key)
        return f"Reservation {key} is cancelled; the refund is on its way."

    return Goal(f"cancel {call.name(one)}, because {reason}", resolve)


def _reason(call: CustomerCall, one: Record) -> str:
    if was_cancelled(call.index, one):
        return "you, the airline, cancelled a flight of it"
    if is_recent(one) or one["cabin"] == "business":
        return "{my} plans have changed"
    return call.rng.choice(("{I} fell ill and can't travel", "a storm makes the trip impossible"))


def refuse_cancel(call: CustomerCall) -> Goal:
    """Cancel a reservation that no rule allows to cancel."""
    one = call.take(must_stay)
    request = f"cancel {call.name(one)}, because {{my}} plans have changed"
    why = (
        f"Reservation {one['reservation_id']} was made more than 24 hours ago, isn't in business "
        "class, has no insurance, and we have cancelled none of its flights."
    )
    note = "Your plans have changed, nothing else; you never give another reason."
    return refused(request, why, lambda dialogue: call.find(dialogue, one), call.phrasing, note)


def transfer_begun(call: CustomerCall) -> Goal:
    """Cancel the rest of a trip that has begun, which needs a human agent."""
    one = call.take(has_left)
    request = f"cancel what is left of {call.name(one)}, because {{my}} plans have changed"
    return transferred(request, lambda dialogue: call.find(dialogue, one))


def certificate(call: CustomerCall) -> Goal:
    """Be compensated for a cancelled flight, by an entitled customer."""
    one = call.take(_deserves_certificate)
    amount = _CERTIFICATE * len(one["passengers"])

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, one)
        _check_flights(dialogue, call.index, one)
        question = (
            f"I am sorry for the cancelled flight. I can give you a certificate of ${amount}, "
            f"$100 for each of {len(one['passengers'])} passenger(s)."
        )
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call("send_certificate", user_id=call.user["user_id"], amount=amount)
        return f"The certificate of ${amount} is in your profile."

    request = f"be compensated for the flight of {call.name(one)} that was cancelled by the airline"
    note = "You want the compensation only; the reservation stays as it is."
    return Goal(request, resolve, note=note)


def refuse_certificate(call: CustomerCall) -> Goal:
    """Be compensated for a cancelled flight, by a customer who isn't entitled."""
    one = call.take(_deserves_no_certificate)

    def look(dialogue: DialogueBuilder) -> None:
        call.find(dialogue, one)
        _check_flights(dialogue, call.index, one)

    request = f"be compensated for the flight of {call.name(one)} that was cancelled by the airline"
    why = (
        "Certificates are for silver and gold members, insured reservations and business class "
        "only."
    )
    return refused(request, why, look, call.phrasing)


def _deserves_certificate(index: AirlineIndex, one: Record) -> bool:
    return was_cancelled(index, one) and is_entitled(index, one)


def _deserves_no_certificate(index: AirlineIndex, one: Record) -> bool:
    return was_cancelled(index, one) and not is_entitled(index, one)


def _check_flights(dialogue: DialogueBuilder, index: AirlineIndex, one: Record) -> None:
    """The agent confirms the facts with the tools, up to the cancelled flight."""
    for segment in one["flights"]:
        number, date = segment["flight_number"], segment["date"]
        if dialogue.call("get_flight_status", flight_number=number, date=date) == "cancelled":
            return
