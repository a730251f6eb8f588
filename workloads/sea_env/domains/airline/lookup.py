"""Finding records of the airline's database, and the words for not finding them."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sea_env.domains.base import ToolError
from sea_env.domains.environment import State
from sea_env.domains.overlay import Record

AVAILABLE = "available"
Model = TypeVar("Model", bound=BaseModel)


def user(state: State, user_id: str) -> Record:
    return state.record("users", user_id, f"User {user_id} not found")


def reservation(state: State, reservation_id: str) -> Record:
    return state.record("reservations", reservation_id, f"Reservation {reservation_id} not found")


def flight(state: State, flight_number: str) -> Record:
    return state.record("flights", flight_number, f"Flight {flight_number} not found")


def flight_on(state: State, flight_number: str, date: str) -> Record:
    """A flight's entry for one date: status, and seats and prices while it can be booked."""
    found: Record | None = flight(state, flight_number)["dates"].get(date)
    if found is None:
        raise ToolError(f"Flight {flight_number} not found on date {date}")
    return found


def bookable(state: State, flight_number: str, date: str, cabin: str, seats: int) -> int:
    """Price of one seat; ToolError unless that many seats of the cabin can be booked."""
    found = flight_on(state, flight_number, date)
    if found["status"] != AVAILABLE:
        raise ToolError(f"Flight {flight_number} not available on date {date}")
    if cabin not in found["available_seats"] or cabin not in found["prices"]:
        raise ToolError(f"Flight {flight_number} has no cabin {cabin}")
    if found["available_seats"][cabin] < seats:
        raise ToolError(f"Not enough seats on flight {flight_number}")
    price: int = found["prices"][cabin]
    return price


def objects(model: type[Model], given: Sequence[Any], what: str) -> list[Model]:
    """Nested arguments, objects of JSON, as values; ToolError names the first that isn't one."""
    try:
        return [model.model_validate(value) for value in given]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ToolError(f"A {what} is wrong at {place!r}: {first['msg']}") from error
