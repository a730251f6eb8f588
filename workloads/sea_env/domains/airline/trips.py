"""Trips that reservations of an airline world are made of: one way or return, direct or not."""

import random
from collections import defaultdict
from typing import Any

from sea_env.domains.airline.timetable import DAYS, Fares, Flight

_PAST, _TODAY, _FUTURE = 8, 14, 15
"""Indices into DAYS: where past trips begin, the desk's day, the first date on sale."""

Segment = dict[str, Any]


class Trips:
    """Draws trips on a timetable."""

    def __init__(self, flights: dict[str, Flight], fares: Fares) -> None:
        self._flights = list(flights.values())
        self._fares = fares
        self._from: dict[str, list[Flight]] = defaultdict(list)
        for flight in self._flights:
            self._from[flight["origin"]].append(flight)

    def draw(self, cabin: str, rng: random.Random) -> tuple[str, list[Segment]]:
        """Flight type and segments; most trips lie ahead, some are past or under way."""
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
        """Where a trip goes: where its way out ends."""
        last = segments[-2] if flight_type == "round_trip" else segments[-1]
        destination: str = last["destination"]
        return destination

    def _onward(self, first: Flight) -> list[Flight]:
        """Flights of the same day that wait for the first and don't fly back."""
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
