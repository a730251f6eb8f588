"""An airline world of our own: flights, users, and reservations past and to come. Pure, seeded."""

import datetime
import random
from typing import Any

from sea_env.domains import people
from sea_env.domains.airline.allowance import paid_bags
from sea_env.domains.airline.booking import NOW
from sea_env.domains.airline.payments import BAG_FEE, INSURANCE_FEE
from sea_env.domains.airline.timetable import CABINS, timetable
from sea_env.domains.airline.trips import Trips
from sea_env.domains.people import Numbers
from sea_env.domains.worlds import Size, World, generator, shipped

_USERS = {Size.SMALL: 20, Size.MEDIUM: 500, Size.LARGE: 5000}
_FLIGHTS = {Size.SMALL: 60, Size.MEDIUM: 300, Size.LARGE: 600}
_AIRPORTS = {Size.SMALL: 7, Size.MEDIUM: 14, Size.LARGE: 20}
_RESERVATIONS_PER_USER = 2
_MEMBERSHIPS = ("regular", "regular", "silver", "gold")
_CLOCK = datetime.datetime.fromisoformat(NOW)
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

Record = dict[str, Any]


def make(size: Size, seed: int) -> World:
    """20, 500 or 5000 users with twice as many reservations, on 60, 300 or 600 flights."""
    rng = generator("airline", size, seed)
    numbers = Numbers(rng)
    flights, fares = timetable(_FLIGHTS[size], _AIRPORTS[size], rng)
    users = {user["user_id"]: user for user in (_user(numbers, rng) for _ in range(_USERS[size]))}
    owners, trips = list(users.values()), Trips(flights, fares)
    reservations: dict[str, Record] = {}
    for _ in range(_RESERVATIONS_PER_USER * len(users)):
        identity = _identity(reservations, rng)
        user = rng.choice(owners)
        reservations[identity] = _reservation(identity, user, trips, rng)
        user["reservations"].append(identity)
    tables = {"flights": flights, "users": users, "reservations": reservations}
    return World(tables, {}, shipped("sea_env.domains.airline", "policy.md"))


def _identity(taken: dict[str, Record], rng: random.Random) -> str:
    """A new code of six; those that a booking gives out begin with HATHA and are left alone."""
    while True:
        found = "".join(rng.choices(_LETTERS, k=6))
        if found not in taken and not found.startswith("HATHA"):
            return found


def _user(numbers: Numbers, rng: random.Random) -> Record:
    name = people.name(rng)
    methods = [people.credit_card(numbers, rng)]
    methods += [_voucher("gift_card", numbers, rng) for _ in range(rng.choice((0, 1, 1, 2)))]
    methods += [_voucher("certificate", numbers, rng) for _ in range(rng.choice((0, 0, 1)))]
    born = people.birthday(rng)
    saved = [{**people.name(rng), "dob": people.birthday(rng)} for _ in range(rng.randrange(4))]
    return {
        "user_id": people.user_id(name, numbers),
        "name": name,
        "address": people.address(rng),
        "email": people.email(name, numbers, rng),
        "dob": born,
        "payment_methods": {method["id"]: method for method in methods},
        "saved_passengers": saved,
        "membership": rng.choice(_MEMBERSHIPS),
        "reservations": [],
    }


def _voucher(source: str, numbers: Numbers, rng: random.Random) -> Record:
    amount = float(rng.choice((50, 100, 150, 200, 250, 300, 500)))
    return {"source": source, "id": f"{source}_{numbers.draw(7)}", "amount": amount}


def _reservation(identity: str, user: Record, trips: Trips, rng: random.Random) -> Record:
    cabin = rng.choice(CABINS)
    flight_type, segments = trips.draw(cabin, rng)
    passengers = [{**user["name"], "dob": user["dob"]}, *user["saved_passengers"]]
    passengers = passengers[: rng.randint(1, len(passengers))]
    bags = rng.randrange(len(passengers) * 2 + 1)
    paid = paid_bags(user["membership"], cabin, len(passengers), bags)
    insurance = rng.choice(("yes", "no", "no"))
    price = sum(one["price"] for one in segments) * len(passengers) + BAG_FEE * paid
    price += INSURANCE_FEE * len(passengers) if insurance == "yes" else 0
    history = [{"payment_id": _method(user, rng), "amount": price}]
    cancelled = rng.random() < 0.05
    if cancelled:
        history.append({**history[0], "amount": -price})
    return {
        "reservation_id": identity,
        "user_id": user["user_id"],
        "origin": segments[0]["origin"],
        "destination": trips.turning_point(flight_type, segments),
        "flight_type": flight_type,
        "cabin": cabin,
        "flights": segments,
        "passengers": passengers,
        "payment_history": history,
        "created_at": _booked_at(segments[0]["date"], rng),
        "total_baggages": bags,
        "nonfree_baggages": paid,
        "insurance": insurance,
        "status": "cancelled" if cancelled else None,
    }


def _method(user: Record, rng: random.Random) -> str:
    """What paid in the past: a certificate would be used up and gone."""
    methods = user["payment_methods"].values()
    chosen: str = rng.choice([m["id"] for m in methods if m["source"] != "certificate"])
    return chosen


def _booked_at(first_date: str, rng: random.Random) -> str:
    """Before the first flight and before now; for every sixth within the last 24 hours."""
    latest = min(_CLOCK, datetime.datetime.fromisoformat(first_date))
    recent = latest == _CLOCK and rng.random() < 1 / 6
    seconds = rng.randrange(60, 24 * 3600 if recent else 20 * 24 * 3600)
    return (latest - datetime.timedelta(seconds=seconds)).isoformat()
