"""Errands that end a reservation or make good for trouble, granted and refused."""

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.procedural.airline.index import (
    AirlineIndex,
    Record,
    has_left,
    is_entitled,
    is_recent,
    may_be_cancelled,
    must_stay,
    was_cancelled,
)
from sea_data.synthesis.procedural.airline.scene import Call
from sea_data.synthesis.procedural.calling import refused, transferred
from sea_data.synthesis.procedural.errand import Errand

_CERTIFICATE = 100
"""USD a passenger for a cancelled flight."""


def cancel(call: Call) -> Errand:
    """A reservation that the policy lets be cancelled."""
    one = call.take(may_be_cancelled)
    key, reason = one["reservation_id"], _reason(call, one)

    def settle(desk: Desk) -> str:
        call.find(desk, one)
        paid = sum(entry["amount"] for entry in one["payment_history"])
        question = (
            f"I can cancel the whole reservation {key} ({one['origin']} to {one['destination']}). "
            f"${paid:g} goes back to where it came from within 5 to 7 business days."
        )
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call("cancel_reservation", reservation_id=key)
        return f"Reservation {key} is cancelled; the refund is on its way."

    return Errand(f"cancel {call.name(one)}, because {reason}", settle)


def _reason(call: Call, one: Record) -> str:
    if was_cancelled(call.index, one):
        return "you, the airline, cancelled a flight of it"
    if is_recent(one) or one["cabin"] == "business":
        return "{my} plans have changed"
    return call.rng.choice(("{I} fell ill and can't travel", "a storm makes the trip impossible"))


def refuse_cancel(call: Call) -> Errand:
    """A reservation that no rule lets be cancelled."""
    one = call.take(must_stay)
    wish = f"cancel {call.name(one)}, because {{my}} plans have changed"
    why = (
        f"Reservation {one['reservation_id']} was made more than 24 hours ago, isn't in business "
        "class, has no insurance, and we have cancelled none of its flights."
    )
    note = "Your plans have changed, nothing else; you never give another reason."
    return refused(wish, why, lambda desk: call.find(desk, one), call.voice, note)


def transfer_begun(call: Call) -> Errand:
    """A trip that has begun is a matter for a person."""
    one = call.take(has_left)
    wish = f"cancel what is left of {call.name(one)}, because {{my}} plans have changed"
    return transferred(wish, lambda desk: call.find(desk, one))


def certificate(call: Call) -> Errand:
    """A cancelled flight is made good for, where the customer is entitled to it."""
    one = call.take(_is_made_good)
    amount = _CERTIFICATE * len(one["passengers"])

    def settle(desk: Desk) -> str:
        call.find(desk, one)
        _check_flights(desk, call.index, one)
        question = (
            f"I am sorry for the cancelled flight. I can give you a certificate of ${amount}, "
            f"$100 for each of {len(one['passengers'])} passenger(s)."
        )
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call("send_certificate", user_id=call.user["user_id"], amount=amount)
        return f"The certificate of ${amount} is in your profile."

    wish = f"be compensated for the flight of {call.name(one)} that was cancelled by the airline"
    note = "You want the compensation only; the reservation stays as it is."
    return Errand(wish, settle, note=note)


def refuse_certificate(call: Call) -> Errand:
    """A cancelled flight, but the customer isn't entitled to anything."""
    one = call.take(_is_not_made_good)

    def look(desk: Desk) -> None:
        call.find(desk, one)
        _check_flights(desk, call.index, one)

    wish = f"be compensated for the flight of {call.name(one)} that was cancelled by the airline"
    why = (
        "Certificates are for silver and gold members, insured reservations and business class "
        "only."
    )
    return refused(wish, why, look, call.voice)


def _is_made_good(index: AirlineIndex, one: Record) -> bool:
    return was_cancelled(index, one) and is_entitled(index, one)


def _is_not_made_good(index: AirlineIndex, one: Record) -> bool:
    return was_cancelled(index, one) and not is_entitled(index, one)


def _check_flights(desk: Desk, index: AirlineIndex, one: Record) -> None:
    """The facts are confirmed with the tools, up to the flight that was cancelled."""
    for segment in one["flights"]:
        number, date = segment["flight_number"], segment["date"]
        if desk.call("get_flight_status", flight_number=number, date=date) == "cancelled":
            return
