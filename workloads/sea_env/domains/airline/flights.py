"""Airline tools that search flights: airports, status, direct and one-stop connections.

Searches on an untouched timetable are answered from texts that all episodes share.
"""

import datetime
import json
from collections.abc import Callable, Iterator
from typing import Any

from sea_env.domains.airline import lookup
from sea_env.domains.base import Kind
from sea_env.domains.overlay import Record
from sea_env.domains.state import State
from sea_env.domains.toolkit import tool

AIRPORTS = {
    "SFO": "San Francisco",
    "JFK": "New York",
    "LAX": "Los Angeles",
    "ORD": "Chicago",
    "DFW": "Dallas",
    "DEN": "Denver",
    "SEA": "Seattle",
    "ATL": "Atlanta",
    "MIA": "Miami",
    "BOS": "Boston",
    "PHX": "Phoenix",
    "IAH": "Houston",
    "LAS": "Las Vegas",
    "MCO": "Orlando",
    "EWR": "Newark",
    "CLT": "Charlotte",
    "MSP": "Minneapolis",
    "DTW": "Detroit",
    "PHL": "Philadelphia",
    "LGA": "LaGuardia",
}
"""City by IATA code: tau2-bench's twenty airports, in its order."""
NEXT_DAY = "+1"
"""Suffix of an arrival time on the day after the departure."""

_AIRPORTS = json.dumps([{"iata": iata, "city": city} for iata, city in AIRPORTS.items()])
_NO_FLIGHTS = "[]"
_Way = tuple[str | None, str | None, str]
"""Origin, destination, date."""
_Search = Callable[[State, str | None, str | None, str], list[Any]]


@tool(Kind.READ)
def list_all_airports(state: State) -> str:
    """List all airports: IATA code and city."""
    return _AIRPORTS


@tool(Kind.READ)
def get_flight_status(state: State, flight_number: str, date: str) -> str:
    """Get the status of a flight on a date (YYYY-MM-DD)."""
    return str(lookup.flight_on(state, flight_number, date)["status"])


# Null as origin or destination means any airport; tau2-bench does so, and its schema has no null
# either.
@tool(Kind.READ, nullable=("origin", "destination"))
def search_direct_flight(state: State, origin: str, destination: str, date: str) -> str:
    """Search for direct flights between two airports (IATA codes) on a date (YYYY-MM-DD). Only
    flights that can be booked are listed."""

    return _shared(state, _direct, (origin, destination, date))


def _direct(state: State, origin: str | None, destination: str | None, date: str) -> list[Any]:
    return [
        _offer(flight, date, None)
        for flight in _bookable(state, origin, date)
        if destination is None or flight["destination"] == destination
    ]


@tool(Kind.READ, nullable=("origin", "destination"))
def search_onestop_flight(state: State, origin: str, destination: str, date: str) -> str:
    """Search for connections with one stop between two airports (IATA codes) on a date
    (YYYY-MM-DD). Each is a pair of flights that can be booked."""

    return _shared(state, _onestop, (origin, destination, date))


def _onestop(state: State, origin: str | None, destination: str | None, date: str) -> list[Any]:
    return [
        [_offer(first, date, date), _offer(second, second_date, second_date)]
        for first in _bookable(state, origin, date)
        for second_date in _arrival_date(first, date)
        for second in _bookable(state, first["destination"], second_date)
        if (destination is None or second["destination"] == destination) and _catches(first, second)
    ]


def _bookable(state: State, origin: str | None, date: str) -> Iterator[Record]:
    """Flights from an airport that can be booked on a date, in the timetable's order."""
    for number in _departures(state).get(origin, ()):
        flight = lookup.flight(state, number)
        found = flight["dates"].get(date)
        if found is not None and found["status"] == lookup.AVAILABLE:
            yield flight


def _departures(state: State) -> dict[str | None, list[str]]:
    """Flight numbers by origin, and all under None; no tool changes a flight's origin."""

    def build() -> dict[str | None, list[str]]:
        found: dict[str | None, list[str]] = {None: []}
        for number, flight in state.agent.items("flights"):
            found.setdefault(flight["origin"], []).append(number)
            found[None].append(number)
        return found

    return state.indexed("departures", build)


def _offer(flight: Record, date: str, shown: str | None) -> dict[str, Any]:
    """A flight as a search shows it; tau2-bench shows the date in connections only."""
    found = flight["dates"][date]
    return {
        "flight_number": flight["flight_number"],
        "origin": flight["origin"],
        "destination": flight["destination"],
        "status": lookup.AVAILABLE,
        "scheduled_departure_time_est": flight["scheduled_departure_time_est"],
        "scheduled_arrival_time_est": flight["scheduled_arrival_time_est"],
        "date": shown,
        "available_seats": found["available_seats"],
        "prices": found["prices"],
    }


def _arrival_date(flight: Record, date: str) -> Iterator[str]:
    """The day of arrival; nothing for a text that isn't a date."""
    if NEXT_DAY not in flight["scheduled_arrival_time_est"]:
        yield date
        return
    try:
        yield str(datetime.date.fromisoformat(date) + datetime.timedelta(days=1))
    except (ValueError, OverflowError):
        return


def _catches(first: Record, second: Record) -> bool:
    """Compared as texts, as tau2-bench does: `06:00:00` doesn't catch `06:00:00+1`."""
    leaves: str = second["scheduled_departure_time_est"]
    arrives: str = first["scheduled_arrival_time_est"]
    return leaves >= arrives


def _shared(state: State, search: _Search, way: _Way) -> str:
    """The answer as JSON, cached in the base for all episodes."""
    # This episode has booked seats, so its answers differ from those of the others.
    if state.agent.touched("flights"):
        return json.dumps(search(state, *way))
    place = search.__name__, way
    known: str | None = state.memo.get(place)
    if known is None:
        known = json.dumps(search(state, *way))
        # An agent may ask for any invented airport or date, whose empty answers would pile up.
        if known != _NO_FLIGHTS or _known_way(state, way):
            state.memo[place] = known
    return known


def _known_way(state: State, way: _Way) -> bool:
    """Whether the timetable has these airports and this date."""
    origin, destination, date = way
    departures = _departures(state)
    return origin in departures and destination in departures and date in _dates(state)


def _dates(state: State) -> set[str]:
    """All dates of the timetable; no tool changes which a flight has."""
    return state.indexed(
        "dates", lambda: {date for _, one in state.agent.items("flights") for date in one["dates"]}
    )
