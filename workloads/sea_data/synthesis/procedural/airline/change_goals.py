"""Airline goals that change a reservation: bags, cabin, date, passengers; granted and refused."""

from typing import Any

from sea_data.synthesis.candidate import DialogueBuilder, NoCandidateError
from sea_data.synthesis.procedural.airline.customer_call import (
    AirlineIndex,
    CustomerCall,
    Record,
    card_text,
    is_ahead,
    is_on_sale,
)
from sea_data.synthesis.procedural.goals import Goal, refused
from sea_env.domains.airline.payments import BAG_FEE, paid_bags

_NAMES = ("Alma", "Bruno", "Carla", "Dario", "Edda", "Fabian", "Gesa", "Henri", "Ilka", "Jonas")
_MAX_BAGS = 3


def bags(call: CustomerCall) -> Goal:
    """Add checked bags; only those beyond the free allowance cost."""
    one = call.take(is_ahead)
    added = call.rng.randint(1, _MAX_BAGS)
    total, key = one["total_baggages"] + added, one["reservation_id"]
    level = call.user["membership"]
    paid = max(
        one["nonfree_baggages"], paid_bags(level, one["cabin"], len(one["passengers"]), total)
    )
    price, card = BAG_FEE * (paid - one["nonfree_baggages"]), call.card()

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, one)
        question = (
            f"I will add {added} checked bag(s) to reservation {key}, {total} in all, for ${price} "
            f"on your {card_text(card)}."
        )
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call(
            "update_reservation_baggages",
            reservation_id=key,
            total_baggages=total,
            nonfree_baggages=paid,
            payment_id=card["id"],
        )
        return f"Reservation {key} now has {total} checked bag(s)."

    request = (
        f"add {added} checked bag(s) to {call.name(one)} and pay with {{my}} {card_text(card)}"
    )
    return Goal(request, resolve)


def cabin(call: CustomerCall) -> Goal:
    """Upgrade all flights of a reservation to business class."""
    one = call.take(_can_be_business)
    card, key = call.card(), one["reservation_id"]
    seats = len(one["passengers"])
    old = sum(segment["price"] for segment in one["flights"])
    new = sum(call.index.day(segment)["prices"]["business"] for segment in one["flights"])

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, one)
        for segment in one["flights"]:
            where = {name: segment[name] for name in ("origin", "destination", "date")}
            dialogue.call("search_direct_flight", **where)
        _change(dialogue, call, one, "business", _plain(one), (new - old) * seats, card)
        return f"All flights of reservation {key} are in business class now."

    request = f"upgrade {call.name(one)} to business class with {{my}} {card_text(card)}"
    return Goal(f"{request}, whatever it costs", resolve)


def date(call: CustomerCall) -> Goal:
    """Move a direct one-way trip to the cheapest direct flight of another day."""
    one = call.take(_can_move)
    card, cabin_, seats = call.card(), one["cabin"], len(one["passengers"])
    held = one["flights"][0]
    days = sorted(call.index.flights[held["flight_number"]]["dates"])
    later = [day for day in days if day > held["date"]]
    found = [(d, n) for d in later if (n := _cheapest(call.index, one, d))]
    if not found:
        raise NoCandidateError("no direct trip has one cheapest flight on a later day")
    day, number = call.rng.choice(found)
    price = call.index.flights[number]["dates"][day]["prices"][cabin_]

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, one)
        dialogue.call(
            "search_direct_flight", origin=one["origin"], destination=one["destination"], date=day
        )
        flights = [{"flight_number": number, "date": day}]
        _change(dialogue, call, one, cabin_, flights, (price - held["price"]) * seats, card)
        return f"You now fly with {number} on {day}."

    request = (
        f"move {call.name(one)} to {day}, with the cheapest direct flight in the same cabin, and "
        f"settle the difference with {{my}} {card_text(card)}"
    )
    return Goal(request, resolve)


def passenger(call: CustomerCall) -> Goal:
    """Correct the first passenger's first name."""
    one = call.take(is_ahead)
    people = [dict(person) for person in one["passengers"]]
    old = people[0]["first_name"]
    people[0]["first_name"] = call.rng.choice([name for name in _NAMES if name != old])
    new, key = people[0]["first_name"], one["reservation_id"]

    def resolve(dialogue: DialogueBuilder) -> str:
        call.find(dialogue, one)
        question = f"In reservation {key}, passenger {old} becomes {new} {people[0]['last_name']}."
        dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
        dialogue.call("update_reservation_passengers", reservation_id=key, passengers=people)
        return f"Reservation {key} now has {new} {people[0]['last_name']} as a passenger."

    person = f"{old} {people[0]['last_name']}"
    request = f"correct the first name of passenger {person} in {call.name(one)} to {new}"
    return Goal(request, resolve)


def refuse_basic(call: CustomerCall) -> Goal:
    """Move a basic economy flight, which the policy forbids."""
    one = call.take(lambda index, r: is_ahead(index, r) and r["cabin"] == "basic_economy")
    request = f"move {call.name(one)} to the following day"
    why = "Flights of a basic economy reservation can't be changed."
    note = "You want to stay in basic economy and don't want an upgrade."
    return refused(request, why, lambda dialogue: call.find(dialogue, one), call.phrasing, note)


def refuse_insurance(call: CustomerCall) -> Goal:
    """Add insurance after booking, which the policy forbids."""
    one = call.take(lambda index, r: is_ahead(index, r) and r["insurance"] == "no")
    request = f"add travel insurance to {call.name(one)}"
    why = "Travel insurance can only be bought together with the reservation."
    return refused(request, why, lambda dialogue: call.find(dialogue, one), call.phrasing)


def refuse_fewer(call: CustomerCall) -> Goal:
    """Remove a passenger, which the policy forbids."""
    one = call.take(lambda index, r: is_ahead(index, r) and len(r["passengers"]) > 1)
    person = one["passengers"][-1]
    request = f"take {person['first_name']} {person['last_name']} off {call.name(one)}"
    why = "The number of passengers of a reservation can't be changed."
    return refused(request, why, lambda dialogue: call.find(dialogue, one), call.phrasing)


def _change(
    dialogue: DialogueBuilder,
    call: CustomerCall,
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
    dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
    dialogue.call(
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
    return other and is_ahead(index, one) and is_on_sale(index, one, "business")


def _can_move(index: AirlineIndex, one: Record) -> bool:
    return len(one["flights"]) == 1 and one["cabin"] != "basic_economy" and is_ahead(index, one)


def _cheapest(index: AirlineIndex, one: Record, day: str) -> str:
    seats = len(one["passengers"])
    return index.cheapest(one["origin"], one["destination"], day, one["cabin"], seats)
