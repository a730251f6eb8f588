"""Generates airline databases: flights, users, past and future reservations. Pure, seeded."""

import datetime
import random
from typing import Any

from sea_env.domains import fake_people
from sea_env.domains.airline.payments import BAG_FEE, INSURANCE_FEE, paid_bags
from sea_env.domains.airline.reservations import NOW
from sea_env.domains.airline.timetable import CABINS, Trips, timetable
from sea_env.domains.database_generator import (
    GeneratedDatabase,
    Size,
    packaged_text,
    seeded_random,
)
from sea_env.domains.fake_people import Numbers

_USERS = {Size.SMALL: 20, Size.MEDIUM: 500, Size.LARGE: 5000}
_FLIGHTS = {Size.SMALL: 60, Size.MEDIUM: 300, Size.LARGE: 600}
_AIRPORTS = {Size.SMALL: 7, Size.MEDIUM: 14, Size.LARGE: 20}
_RESERVATIONS_PER_USER = 2
_MEMBERSHIPS = ("regular", "regular", "silver", "gold")
_CLOCK = datetime.datetime.fromisoformat(NOW)
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

Record = dict[str, Any]


def generate_database(size: Size, seed: int) -> GeneratedDatabase:
    """20, 500 or 5000 users with twice as many reservations, on 60, 300 or 600 flights."""
    rng = seeded_random("airline", size, seed)
    numbers = Numbers(rng)
    flights, fares = timetable(_FLIGHTS[size], _AIRPORTS[size], rng)
    users = {user["user_id"]: user for user in (_user(numbers, rng) for _ in range(_USERS[size]))}
    owners, trips = list(users.values()), Trips(flights, fares)
    reservations: dict[str, Record] = {}
    for _ in range(_RESERVATIONS_PER_USER * len(users)):
        identity = _reservation_id(reservations, rng)
        user = rng.choice(owners)
        reservations[identity] = _reservation(identity, user, trips, rng)
        user["reservations"].append(identity)
    tables = {"flights": flights, "users": users, "reservations": reservations}
    return GeneratedDatabase(tables, {}, packaged_text("sea_env.domains.airline", "policy.md"))


def _reservation_id(taken: dict[str, Record], rng: random.Random) -> str:
    """A new code of six characters; those beginning with HATHA are left to `book_reservation`."""
    while True:
        found = "".join(rng.choices(_LETTERS, k=6))
        if found not in taken and not found.startswith("HATHA"):
            return found


def _user(numbers: Numbers, rng: random.Random) -> Record:
    name = fake_people.name(rng)
    methods = [fake_people.credit_card(numbers, rng)]
    methods += [_voucher("gift_card", numbers, rng) for _ in range(rng.choice((0, 1, 1, 2)))]
    methods += [_voucher("certificate", numbers, rng) for _ in range(rng.choice((0, 0, 1)))]
    born = fake_people.birthday(rng)
    saved = [
        {**fake_people.name(rng), "dob": fake_people.birthday(rng)} for _ in range(rng.randrange(4))
    ]
    return {
        "user_id": fake_people.user_id(name, numbers),
        "name": name,
        "address": fake_people.address(rng),
        "email": fake_people.email(name, numbers, rng),
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
    """A past payment's method; a certificate would be used up and no longer in the profile."""
    methods = user["payment_methods"].values()
    chosen: str = rng.choice([m["id"] for m in methods if m["source"] != "certificate"])
    return chosen


def _booked_at(first_date: str, rng: random.Random) -> str:
    """A time before the first flight and before now; for one in six in the last 24 hours."""
    latest = min(_CLOCK, datetime.datetime.fromisoformat(first_date))
    recent = latest == _CLOCK and rng.random() < 1 / 6
    seconds = rng.randrange(60, 24 * 3600 if recent else 20 * 24 * 3600)
    return (latest - datetime.timedelta(seconds=seconds)).isoformat()
