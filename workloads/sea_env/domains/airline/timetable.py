"""Flights of an airline world of our own: routes over hubs, times, thirty days of dates.

The desk's clock stands at NOW: earlier dates have landed, today's flights are landed, in the air or
waiting, later ones are on sale. Every route is flown both ways.
"""

import datetime
import itertools
import math
import random
from typing import Any

from sea_env.domains.airline.booking import NOW
from sea_env.domains.airline.flights import NEXT_DAY

CABINS = ("basic_economy", "economy", "business")
DAYS = [datetime.date(2024, 5, day) for day in range(1, 31)]
PLACES = {
    "SFO": (38, -122), "JFK": (41, -74), "LAX": (34, -118), "ORD": (42, -88), "DFW": (33, -97),
    "DEN": (40, -105), "SEA": (47, -122), "ATL": (34, -84), "MIA": (26, -80), "BOS": (42, -71),
    "PHX": (33, -112), "IAH": (30, -95), "LAS": (36, -115), "MCO": (28, -81), "EWR": (41, -74),
    "CLT": (35, -81), "MSP": (45, -93), "DTW": (42, -83), "PHL": (40, -75), "LGA": (41, -74),
}  # fmt: skip
"""Latitude and longitude in whole degrees."""

_HUBS = ("DEN", "ORD", "ATL")
_CABIN_FACTORS = {"basic_economy": 0.7, "economy": 1.0, "business": 3.2}
_CLOCK = datetime.datetime.fromisoformat(NOW)

Flight = dict[str, Any]
Fares = dict[tuple[str, str], dict[str, int]]
"""Price of a seat by cabin, for each (flight number, date), also for dates long gone."""


def timetable(count: int, airports: int, rng: random.Random) -> tuple[dict[str, Flight], Fares]:
    """That many flights between that many airports, and what their seats cost on each date."""
    routes = itertools.islice(itertools.cycle(_routes(airports, rng)), count)
    flights: dict[str, Flight] = {}
    fares: Fares = {}
    for index, (origin, destination) in enumerate(routes, start=101):
        flight = _flight(f"PLC{index}", origin, destination, rng)
        base = 60 + 0.07 * _kilometres(origin, destination)
        for day in DAYS:
            date = str(day)
            fares[flight["flight_number"], date] = _prices(base, rng)
            flight["dates"][date] = _entry(flight, day, fares, rng)
        flights[flight["flight_number"]] = flight
    return flights, fares


def _routes(airports: int, rng: random.Random) -> list[tuple[str, str]]:
    """Hubs to everywhere first, then pairs at random; each followed by its way back."""
    served = list(_HUBS) + rng.sample(sorted(set(PLACES) - set(_HUBS)), airports - len(_HUBS))
    pairs = list(itertools.combinations(served, 2))
    spokes = [pair for pair in pairs if pair[0] in _HUBS and _kilometres(*pair) > 0]
    others = [pair for pair in pairs if pair[0] not in _HUBS and _kilometres(*pair) > 0]
    rng.shuffle(others)
    return [way for a, b in (*spokes, *others) for way in ((a, b), (b, a))]


def _kilometres(a: str, b: str) -> float:
    """On a flat map, which is near enough for fares; one degree of latitude is 111 km."""
    (north, east), (south, west) = PLACES[a], PLACES[b]
    middle = math.radians((north + south) / 2)
    return 111 * math.hypot(north - south, (east - west) * math.cos(middle))


def _flight(number: str, origin: str, destination: str, rng: random.Random) -> Flight:
    leaves = 5 * rng.randrange(5 * 12, 23 * 12)
    arrives = leaves + 5 * round((40 + _kilometres(origin, destination) / 13) / 5)
    return {
        "flight_number": number,
        "origin": origin,
        "destination": destination,
        "scheduled_departure_time_est": _time(leaves),
        "scheduled_arrival_time_est": _time(arrives),
        "dates": {},
    }


def _time(minutes: int) -> str:
    days, rest = divmod(minutes, 24 * 60)
    return f"{rest // 60:02}:{rest % 60:02}:00" + (NEXT_DAY if days else "")


def moment(day: datetime.date, time: str) -> datetime.datetime:
    """A date and a time of the timetable as one moment."""
    clock = datetime.time.fromisoformat(time.removesuffix(NEXT_DAY))
    found = datetime.datetime.combine(day, clock)
    return found + datetime.timedelta(days=1) if time.endswith(NEXT_DAY) else found


def _prices(base: float, rng: random.Random) -> dict[str, int]:
    day = base * rng.uniform(0.8, 1.4)
    return {cabin: round(day * _CABIN_FACTORS[cabin]) for cabin in CABINS}


def _entry(flight: Flight, day: datetime.date, fares: Fares, rng: random.Random) -> dict[str, Any]:
    """What the database says about the flight on that day."""
    leaves = moment(day, flight["scheduled_departure_time_est"])
    arrives = moment(day, flight["scheduled_arrival_time_est"])
    drawn = rng.random()
    if drawn < 0.04:
        return {"status": "cancelled"}
    # Today is a bad day, so that there are delays to make good for.
    share = 0.54 if day == _CLOCK.date() else 0.14
    late = datetime.timedelta(minutes=5 * rng.randrange(12, 60) if drawn < share else 0)
    leaves, arrives = leaves + late, arrives + late
    if arrives <= _CLOCK:
        return {"status": "landed", **_times("actual", leaves, "actual", arrives)}
    if leaves <= _CLOCK:
        return {"status": "flying", **_times("actual", leaves, "estimated", arrives)}
    if day == _CLOCK.date():
        status = "delayed" if late else "on time"
        return {"status": status, **_times("estimated", leaves, "estimated", arrives)}
    return {
        "status": "available",
        "available_seats": {cabin: rng.randrange(21) for cabin in CABINS},
        "prices": dict(fares[flight["flight_number"], str(day)]),
    }


def _times(
    first: str, leaves: datetime.datetime, second: str, arrives: datetime.datetime
) -> dict[str, str]:
    return {
        f"{first}_departure_time_est": leaves.isoformat(),
        f"{second}_arrival_time_est": arrives.isoformat(),
    }
