"""Errands that begin something: booking a flight, asking what one would cost."""

from typing import NamedTuple

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.procedural.airline.index import TODAY
from sea_data.synthesis.procedural.airline.scene import Call, card_text
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.proposal import NothingFitsError
from sea_env.domains.airline.payments import BAG_FEE, INSURANCE_FEE, paid_bags

_CABINS = ("basic_economy", "economy", "business")
_TRIES = 20
_LEAST_TELLING = 100
"""USD; a smaller number too easily appears in another one."""


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


def book(call: Call) -> Errand:
    """A one-way trip for the customer alone, on the only cheapest direct flight of a day."""
    offer, card, user = _offer(call), call.card(), call.user
    total_bags, insured = call.rng.randint(0, 3), call.rng.random() < 0.5
    paid = paid_bags(user["membership"], offer.cabin, 1, total_bags)
    price = offer.price + BAG_FEE * paid + (INSURANCE_FEE if insured else 0)
    insurance = "with travel insurance" if insured else "without travel insurance"

    def settle(desk: Desk) -> str:
        _search(desk, offer)
        question = (
            f"I can book flight {offer.number} from {offer.origin} to {offer.destination} on "
            f"{offer.date} in {offer.cabin.replace('_', ' ')} for you, {total_bags} checked "
            f"bag(s), {insurance}, for ${price} on your {card_text(card)}."
        )
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call(
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

    wish = (
        f"book the cheapest {offer.words}, one way, for {{me}} alone, with {total_bags} checked "
        f"bag(s), {insurance}, paid with {{my}} {card_text(card)}"
    )
    return Errand(wish, settle)


def price(call: Call) -> Errand:
    """What the cheapest direct flight of a day costs."""
    offer = _offer(call)
    if offer.price < _LEAST_TELLING:
        raise NothingFitsError("no flight has a price that is told from other numbers")

    def settle(desk: Desk) -> str:
        _search(desk, offer)
        return f"That is flight {offer.number}; a seat costs ${offer.price}."

    return Errand(f"know the price of the cheapest {offer.words}", settle, (str(offer.price),))


def _search(desk: Desk, offer: _Offer) -> None:
    desk.call(
        "search_direct_flight", origin=offer.origin, destination=offer.destination, date=offer.date
    )


def _offer(call: Call) -> _Offer:
    flights = list(call.index.flights.values())
    for _ in range(_TRIES):
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
    raise NothingFitsError("no direct flight is the only cheapest of its day")
