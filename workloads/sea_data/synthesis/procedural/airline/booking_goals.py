"""Airline goals about whole bookings: ask the price, book, cancel, be compensated."""

from typing import NamedTuple

from sea_data.synthesis.candidate import DialogueBuilder, NoCandidateError
from sea_data.synthesis.procedural.airline.customer_call import (
    TODAY,
    AirlineIndex,
    CustomerCall,
    Record,
    card_text,
    has_left,
    is_entitled,
    is_recent,
    may_be_cancelled,
    must_stay,
    was_cancelled,
)
from sea_data.synthesis.procedural.goals import Goal, refused, transferred
from sea_env.domains.airline.payments import BAG_FEE, INSURANCE_FEE, paid_bags

_CABINS = ("basic_economy", "economy", "business")
_MAX_TRIES = 20
_MIN_PRICE = 100
"""USD; a smaller number could appear as part of another one."""


class _Offer(NamedTuple):
    number: str
    origin: str
    destination: str
    date: str
    cabin: str
    price: int

    @property
    def words(self) -> str:
        cabin = self.cabin.replace("_", " ")
        return f"direct flight from {self.origin} to {self.destination} on {self.date} in {cabin}"


def book(call: CustomerCall) -> Goal:
    """Book a one-way trip for the customer alone, on the cheapest direct flight of a day."""
    offer, card, user = _offer(call), call.card(), call.user
    total_bags, insured = call.rng.randint(0, 3), call.rng.random() < 0.5
    paid = paid_bags(user["membership"], offer.cabin, 1, total_bags)
    price = offer.price + BAG_FEE * paid + (INSURANCE_FEE if insured else 0)
    insurance = "with travel insurance" if insured else "without travel insurance"

    def resolve(dialogue: DialogueBuilder) -> str:
        _search(dialogue, offer)
        question = (
            f"I can book flight {offer.number} from {offer.origin} to {offer.destination} on "
            f"{offer.date} in {offer.cabin.replace('_', ' ')} for you, {total_bags} checked "
            f"bag(s), {insurance}, for ${price} on your {card_text(card)}."
        )
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call(
            "book_reservation",
            user_id=user["user_id"],
            origin=offer.origin,
            destination=offer.destination,
            flight_type="one_way",
            cabin=offer.cabin,
            flights=[{"flight_number": offer.number, "date": offer.date}],
            passengers=[{**user["name"], "dob": user["dob"]}],
            payment_methods=[{"payment_id": card["id"], "amount": price}],
            total_baggages=total_bags,
            nonfree_baggages=paid,
            insurance="yes" if insured else "no",
        )
        return f"Flight {offer.number} on {offer.date} is booked for ${price}."

    request = (
        f"book the cheapest {offer.words}, one way, for {{me}} alone, with {total_bags} checked "
        f"bag(s), {insurance}, paid with {{my}} {card_text(card)}"
    )
    return Goal(request, resolve)


def price(call: CustomerCall) -> Goal:
    """Ask what the cheapest direct flight of a day costs."""
    offer = _offer(call)
    if offer.price < _MIN_PRICE:
        raise NoCandidateError("no flight has a price that can't be part of another number")

    def resolve(dialogue: DialogueBuilder) -> str:
        _search(dialogue, offer)
        return f"That is flight {offer.number}; a seat costs ${offer.price}."

    return Goal(f"know the price of the cheapest {offer.words}", resolve, (str(offer.price),))


def _search(dialogue: DialogueBuilder, offer: _Offer) -> None:
    dialogue.call(
        "search_direct_flight", origin=offer.origin, destination=offer.destination, date=offer.date
    )


def _offer(call: CustomerCall) -> _Offer:
    flights = list(call.index.flights.values())
    for _ in range(_MAX_TRIES):
        flight = call.rng.choice(flights)
        ahead = [day for day in flight["dates"] if day > TODAY]
        if not ahead:
            continue
        date, cabin = call.rng.choice(ahead), call.rng.choice(_CABINS)
        origin, destination = flight["origin"], flight["destination"]
        # The cheapest of the route and day, which need not be the flight that was drawn.
        number = call.index.cheapest(origin, destination, date, cabin, 1)
        if number:
            cost = call.index.flights[number]["dates"][date]["prices"][cabin]
            return _Offer(number, origin, destination, date, cabin, cost)
    raise NoCandidateError("no direct flight is the only cheapest of its day")


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
