"""Finds records of the airline's database, with tau2-bench's error texts, and shows them."""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.overlay import Record
from sea_env.domains.state import State, finder, reader
from sea_env.domains.toolkit import tool

AVAILABLE = "available"
Object = TypeVar("Object")

user = finder("users", "User {} not found")
reservation = finder("reservations", "Reservation {} not found")
flight = finder("flights", "Flight {} not found")
_user_text = reader("users", "User {} not found")
_reservation_text = reader("reservations", "Reservation {} not found")


def flight_on(state: State, flight_number: str, date: str) -> Record:
    """A flight's entry for one date: its status, and seats and prices if it can be booked."""
    found: Record | None = flight(state, flight_number)["dates"].get(date)
    if found is None:
        raise ToolError(f"Flight {flight_number} not found on date {date}")
    return found


def bookable(state: State, flight_number: str, date: str, cabin: str, seats: int) -> int:
    """Price of one seat in USD; ToolError unless that many seats of the cabin can be booked."""
    found = flight_on(state, flight_number, date)
    if found["status"] != AVAILABLE:
        raise ToolError(f"Flight {flight_number} not available on date {date}")
    if cabin not in found["available_seats"] or cabin not in found["prices"]:
        raise ToolError(f"Flight {flight_number} has no cabin {cabin}")
    if found["available_seats"][cabin] < seats:
        raise ToolError(f"Not enough seats on flight {flight_number}")
    price: int = found["prices"][cabin]
    return price


def parse_objects(kind: type[Object], given: Sequence[Any], what: str) -> list[Object]:
    """Nested arguments (JSON objects) with the fields of `kind`, a TypedDict, and no others.

    ToolError names the first that isn't valid.
    """
    try:
        hashable: Any = kind
        read: TypeAdapter[list[Object]] = _reader(hashable)
        return read.validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        # Without the index in the list.
        place = ".".join(str(part) for part in first["loc"][1:])
        raise ToolError(f"A {what} is wrong at {place!r}: {first['msg']}") from error


@cache
def _reader(kind: Any) -> TypeAdapter[list[Any]]:
    """Reads a list in one call, which takes half as long as one for each object."""
    return TypeAdapter(list[kind])


@tool(Kind.READ)
def get_user_details(state: State, user_id: str) -> str:
    """Get a user's profile, including payment methods, membership and reservations."""
    return _user_text(state, user_id)


@tool(Kind.READ)
def get_reservation_details(state: State, reservation_id: str) -> str:
    """Get the flights, passengers, payments, bags and status of a reservation."""
    return _reservation_text(state, reservation_id)
