"""Errands that change a reservation: bags, cabin, date, passengers; granted and refused."""

from typing import Any

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.procedural.airline.index import (
    AirlineIndex,
    Record,
    is_on_sale,
    lies_ahead,
)
from sea_data.synthesis.procedural.airline.scene import Call, card_text
from sea_data.synthesis.procedural.calling import refused
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.proposal import NothingFitsError
from sea_env.domains.airline.payments import BAG_FEE, paid_bags

_NAMES = ("Alma", "Bruno", "Carla", "Dario", "Edda", "Fabian", "Gesa", "Henri", "Ilka", "Jonas")
_MOST_BAGS = 3


def bags(call: Call) -> Errand:
    """More checked bags; the free ones are free."""
    one = call.take(lies_ahead)
    added = call.rng.randint(1, _MOST_BAGS)
    total, key = one["total_baggages"] + added, one["reservation_id"]
    level = call.user["membership"]
    paid = max(
        one["nonfree_baggages"], paid_bags(level, one["cabin"], len(one["passengers"]), total)
    )
    price, card = BAG_FEE * (paid - one["nonfree_baggages"]), call.card()

    def settle(desk: Desk) -> str:
        call.find(desk, one)
        question = (
            f"I will add {added} checked bag(s) to reservation {key}, {total} in all, for ${price} "
            f"on your {card_text(card)}."
        )
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call(
            "update_reservation_baggages",
            reservation_id=key,
            total_baggages=total,
            nonfree_baggages=paid,
            payment_id=card["id"],
        )
        return f"Reservation {key} now has {total} checked bag(s)."

    wish = f"add {added} checked bag(s) to {call.name(one)} and pay with {{my}} {card_text(card)}"
    return Errand(wish, settle)


def cabin(call: Call) -> Errand:
    """All flights of a reservation in business class."""
    one = call.take(_can_be_business)
    card, key = call.card(), one["reservation_id"]
    seats = len(one["passengers"])
    old = sum(segment["price"] for segment in one["flights"])
    new = sum(call.index.day(segment)["prices"]["business"] for segment in one["flights"])

    def settle(desk: Desk) -> str:
        call.find(desk, one)
        for segment in one["flights"]:
            where = {name: segment[name] for name in ("origin", "destination", "date")}
            desk.call("search_direct_flight", **where)
        _change(desk, call, one, "business", _plain(one), (new - old) * seats, card)
        return f"All flights of reservation {key} are in business class now."

    wish = f"upgrade {call.name(one)} to business class with {{my}} {card_text(card)}"
    return Errand(f"{wish}, whatever it costs", settle)


def date(call: Call) -> Errand:
    """A direct one-way trip on another day: the cheapest direct flight of that day."""
    one = call.take(_can_move)
    card, cabin_, seats = call.card(), one["cabin"], len(one["passengers"])
    held = one["flights"][0]
    days = sorted(call.index.flights[held["flight_number"]]["dates"])
    later = [day for day in days if day > held["date"]]
    found = [(d, n) for d in later if (n := _cheapest(call.index, one, d))]
    if not found:
        raise NothingFitsError("no direct trip has one cheapest flight on a later day")
    day, number = call.rng.choice(found)
    price = call.index.flights[number]["dates"][day]["prices"][cabin_]

    def settle(desk: Desk) -> str:
        call.find(desk, one)
        desk.call(
            "search_direct_flight", origin=one["origin"], destination=one["destination"], date=day
        )
        flights = [{"flight_number": number, "date": day}]
        _change(desk, call, one, cabin_, flights, (price - held["price"]) * seats, card)
        return f"You now fly with {number} on {day}."

    wish = (
        f"move {call.name(one)} to {day}, with the cheapest direct flight in the same cabin, and "
        f"settle the difference with {{my}} {card_text(card)}"
    )
    return Errand(wish, settle)


def passenger(call: Call) -> Errand:
    """The first passenger's first name is corrected."""
    one = call.take(lies_ahead)
    people = [dict(person) for person in one["passengers"]]
    old = people[0]["first_name"]
    people[0]["first_name"] = call.rng.choice([name for name in _NAMES if name != old])
    new, key = people[0]["first_name"], one["reservation_id"]

    def settle(desk: Desk) -> str:
        call.find(desk, one)
        question = f"In reservation {key}, passenger {old} becomes {new} {people[0]['last_name']}."
        desk.confirm(call.voice.confirm(question), call.voice.yes())
        desk.call("update_reservation_passengers", reservation_id=key, passengers=people)
        return f"Reservation {key} now has {new} {people[0]['last_name']} as a passenger."

    person = f"{old} {people[0]['last_name']}"
    wish = f"correct the first name of passenger {person} in {call.name(one)} to {new}"
    return Errand(wish, settle)


def refuse_basic(call: Call) -> Errand:
    """Flights of basic economy can't be changed."""
    one = call.take(lambda index, r: lies_ahead(index, r) and r["cabin"] == "basic_economy")
    wish = f"move {call.name(one)} to the following day"
    why = "Flights of a basic economy reservation can't be changed."
    note = "You want to stay in basic economy and don't want an upgrade."
    return refused(wish, why, lambda desk: call.find(desk, one), call.voice, note)


def refuse_insurance(call: Call) -> Errand:
    """Insurance can't be added after booking."""
    one = call.take(lambda index, r: lies_ahead(index, r) and r["insurance"] == "no")
    wish = f"add travel insurance to {call.name(one)}"
    why = "Travel insurance can only be bought together with the reservation."
    return refused(wish, why, lambda desk: call.find(desk, one), call.voice)


def refuse_fewer(call: Call) -> Errand:
    """The number of passengers can't change."""
    one = call.take(lambda index, r: lies_ahead(index, r) and len(r["passengers"]) > 1)
    person = one["passengers"][-1]
    wish = f"take {person['first_name']} {person['last_name']} off {call.name(one)}"
    why = "The number of passengers of a reservation can't be changed."
    return refused(wish, why, lambda desk: call.find(desk, one), call.voice)


def _change(
    desk: Desk,
    call: Call,
    one: Record,
    cabin_: str,
    flights: list[dict[str, Any]],
    difference: int,
    card: Record,
) -> None:
    listed = ", ".join(f"{f['flight_number']} on {f['date']}" for f in flights)
    owed = f"${difference} to pay" if difference >= 0 else f"${-difference} back"
    question = (
        f"Reservation {one['reservation_id']} will be {listed} in {cabin_.replace('_', ' ')}; that "
        f"is {owed}, settled with your {card_text(card)}."
    )
    desk.confirm(call.voice.confirm(question), call.voice.yes())
    desk.call(
        "update_reservation_flights",
        reservation_id=one["reservation_id"],
        cabin=cabin_,
        flights=flights,
        payment_id=card["id"],
    )


def _plain(one: Record) -> list[dict[str, Any]]:
    return [{"flight_number": s["flight_number"], "date": s["date"]} for s in one["flights"]]


def _can_be_business(index: AirlineIndex, one: Record) -> bool:
    other = one["cabin"] != "business"
    return other and lies_ahead(index, one) and is_on_sale(index, one, "business")


def _can_move(index: AirlineIndex, one: Record) -> bool:
    return len(one["flights"]) == 1 and one["cabin"] != "basic_economy" and lies_ahead(index, one)


def _cheapest(index: AirlineIndex, one: Record, day: str) -> str:
    seats = len(one["passengers"])
    return index.cheapest(one["origin"], one["destination"], day, one["cabin"], seats)
