"""Airline goals without a reservation: book a flight, ask what one costs."""

from typing import NamedTuple

from sea_data.synthesis.candidate import NoCandidateError
from sea_data.synthesis.dialogue_builder import DialogueBuilder
from sea_data.synthesis.procedural.airline.customer_call import TODAY, CustomerCall, card_text
from sea_data.synthesis.procedural.goals import Goal
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
        number = call.index.cheapest(origin, destination, date, cabin, 1)
        if number:
            cost = call.index.flights[number]["dates"][date]["prices"][cabin]
            return _Offer(number, origin, destination, date, cabin, cost)
    raise NoCandidateError("no direct flight is the only cheapest of its day")
