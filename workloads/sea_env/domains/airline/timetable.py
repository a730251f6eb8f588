"""The timetable of generated airline databases, and trips on it.

Routes over hubs, each flown both ways, on thirty dates. The clock is fixed at NOW: flights of
earlier dates have landed, today's are landed, flying or waiting, later ones can be booked.
"""

import datetime
import itertools
import math
import random
from collections import defaultdict
from typing import Any

from sea_env.domains.airline.flights import NEXT_DAY
from sea_env.domains.airline.reservations import NOW

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
_PAST, _TODAY, _FUTURE = 8, 14, 15
"""Indices into DAYS: the first past trips, today, the first date that can be booked."""

Flight = dict[str, Any]
Segment = dict[str, Any]
Fares = dict[tuple[str, str], dict[str, int]]
"""Price of a seat in USD by cabin, for each (flight number, date), including past dates."""


def timetable(count: int, airports: int, rng: random.Random) -> tuple[dict[str, Flight], Fares]:
    """`count` flights between that many airports, and what their seats cost on each date."""
    routes = itertools.islice(itertools.cycle(_routes(airports, rng)), count)
    flights: dict[str, Flight] = {}
    fares: Fares = {}
    for index, (origin, destination) in enumerate(routes, start=101):
        flight = _flight(f"PLC{index}", origin, destination, rng)
        base = 60 + 0.07 * _kilometers(origin, destination)
        for day in DAYS:
            date = str(day)
            fares[flight["flight_number"], date] = _prices(base, rng)
            flight["dates"][date] = _entry(flight, day, fares, rng)
        flights[flight["flight_number"]] = flight
    return flights, fares


def _routes(airports: int, rng: random.Random) -> list[tuple[str, str]]:
    """Routes from the hubs first, then other pairs at random; each followed by its reverse."""
    served = list(_HUBS) + rng.sample(sorted(set(PLACES) - set(_HUBS)), airports - len(_HUBS))
    pairs = list(itertools.combinations(served, 2))
    spokes = [pair for pair in pairs if pair[0] in _HUBS and _kilometers(*pair) > 0]
    others = [pair for pair in pairs if pair[0] not in _HUBS and _kilometers(*pair) > 0]
    rng.shuffle(others)
    return [way for a, b in (*spokes, *others) for way in ((a, b), (b, a))]


def _kilometers(a: str, b: str) -> float:
    """Distance on a flat map, good enough for fares; one degree of latitude is 111 km."""
    (north, east), (south, west) = PLACES[a], PLACES[b]
    middle = math.radians((north + south) / 2)
    return 111 * math.hypot(north - south, (east - west) * math.cos(middle))


def _flight(number: str, origin: str, destination: str, rng: random.Random) -> Flight:
    leaves = 5 * rng.randrange(5 * 12, 23 * 12)
    arrives = leaves + 5 * round((40 + _kilometers(origin, destination) / 13) / 5)
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
    """A date and a time of the timetable as a datetime."""
    clock = datetime.time.fromisoformat(time.removesuffix(NEXT_DAY))
    found = datetime.datetime.combine(day, clock)
    return found + datetime.timedelta(days=1) if time.endswith(NEXT_DAY) else found


def _prices(base: float, rng: random.Random) -> dict[str, int]:
    day = base * rng.uniform(0.8, 1.4)
    return {cabin: round(day * _CABIN_FACTORS[cabin]) for cabin in CABINS}


def _entry(flight: Flight, day: datetime.date, fares: Fares, rng: random.Random) -> dict[str, Any]:
    """The flight's entry for that day."""
    leaves = moment(day, flight["scheduled_departure_time_est"])
    arrives = moment(day, flight["scheduled_arrival_time_est"])
    drawn = rng.random()
    if drawn < 0.04:
        return {"status": "cancelled"}
    # Many flights of today are late, so that tasks about delays find cases.
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


class Trips:
    """Draws the trips that reservations consist of: one way or return, direct or one stop."""

    def __init__(self, flights: dict[str, Flight], fares: Fares) -> None:
        self._flights = list(flights.values())
        self._fares = fares
        self._from: dict[str, list[Flight]] = defaultdict(list)
        for flight in self._flights:
            self._from[flight["origin"]].append(flight)

    def draw(self, cabin: str, rng: random.Random) -> tuple[str, list[Segment]]:
        """Flight type and segments; most trips are in the future, some past or under way."""
        first_day = _first_day(rng)
        out = [rng.choice(self._flights)]
        onward = self._onward(out[0])
        if onward and rng.random() < 0.3:
            out.append(rng.choice(onward))
        segments = [self._segment(flight, first_day, cabin) for flight in out]
        back = self._direct(out[-1]["destination"], out[0]["origin"])
        last_day = first_day + rng.randint(1, 6)
        if not back or last_day >= len(DAYS) or rng.random() < 0.5:
            return "one_way", segments
        return "round_trip", [*segments, self._segment(rng.choice(back), last_day, cabin)]

    @staticmethod
    def turning_point(flight_type: str, segments: list[Segment]) -> str:
        """The destination of a trip: where the outward journey ends."""
        last = segments[-2] if flight_type == "round_trip" else segments[-1]
        destination: str = last["destination"]
        return destination

    def _onward(self, first: Flight) -> list[Flight]:
        """Flights of the same day that leave after the first arrives and don't fly back."""
        arrives = first["scheduled_arrival_time_est"]
        return [
            flight
            for flight in self._from[first["destination"]]
            if flight["scheduled_departure_time_est"] >= arrives
            and flight["destination"] != first["origin"]
        ]

    def _direct(self, origin: str, destination: str) -> list[Flight]:
        return [flight for flight in self._from[origin] if flight["destination"] == destination]

    def _segment(self, flight: Flight, day: int, cabin: str) -> Segment:
        date = str(DAYS[day])
        return {
            "flight_number": flight["flight_number"],
            "origin": flight["origin"],
            "destination": flight["destination"],
            "date": date,
            "price": self._fares[flight["flight_number"], date][cabin],
        }


def _first_day(rng: random.Random) -> int:
    drawn = rng.random()
    if drawn < 0.15:
        return _TODAY
    return rng.randrange(_PAST, _TODAY) if drawn < 0.25 else rng.randrange(_FUTURE, len(DAYS))
