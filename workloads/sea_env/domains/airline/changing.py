"""Airline tools that change a reservation: flights and cabin, bags, passengers."""

from collections.abc import Mapping
from typing import Any

from sea_env.domains.airline import lookup, payments
from sea_env.domains.airline.booking import segment
from sea_env.domains.airline.layout import Cabin, FlightInfo, Passenger
from sea_env.domains.base import Kind, ToolError
from sea_env.domains.environment import State
from sea_env.domains.overlay import Record
from sea_env.domains.toolkit import tool


@tool(Kind.WRITE)
def update_reservation_baggages(
    state: State,
    reservation_id: str,
    total_baggages: int,
    nonfree_baggages: int,
    payment_id: str,
) -> Mapping[str, Any]:
    """Set the number of checked bags of a reservation; added bags beyond the free ones are paid.
    Ask the user for an explicit confirmation (yes) first."""
    reservation = lookup.reservation(state, reservation_id)
    user = lookup.user(state, reservation["user_id"])
    added = max(0, nonfree_baggages - reservation["nonfree_baggages"])
    entries = payments.settle(state, user, payment_id, payments.BAG_FEE * added)
    edited = state.agent.edit("reservations", reservation_id)
    edited["payment_history"] += entries
    edited["total_baggages"] = total_baggages
    edited["nonfree_baggages"] = nonfree_baggages
    return edited


@tool(Kind.WRITE)
def update_reservation_flights(
    state: State,
    reservation_id: str,
    cabin: Cabin,
    flights: list[FlightInfo | dict[str, Any]],
    payment_id: str,
) -> Mapping[str, Any]:
    """Set the cabin and all flights of a reservation; give also the flights that stay. The
    difference in fares is paid or refunded. Ask the user for an explicit confirmation (yes)
    first."""
    wanted = lookup.objects(FlightInfo, flights, "flight")
    reservation = lookup.reservation(state, reservation_id)
    user = lookup.user(state, reservation["user_id"])
    seats = len(reservation["passengers"])
    segments = [
        _kept(reservation, info, cabin) or segment(state, info, cabin, seats) for info in wanted
    ]
    difference = (_fares(segments) - _fares(reservation["flights"])) * seats
    entries = payments.settle(state, user, payment_id, difference)
    # Seats of the timetable stay as they are: see docs/domains/airline.md.
    edited = state.agent.edit("reservations", reservation_id)
    edited["payment_history"] += entries
    edited["flights"] = segments
    edited["cabin"] = cabin
    return edited


@tool(Kind.WRITE)
def update_reservation_passengers(
    state: State, reservation_id: str, passengers: list[Passenger | dict[str, Any]]
) -> Mapping[str, Any]:
    """Replace the passengers of a reservation by as many others. Ask the user for an explicit
    confirmation (yes) first."""
    people = lookup.objects(Passenger, passengers, "passenger")
    reservation = lookup.reservation(state, reservation_id)
    if len(people) != len(reservation["passengers"]):
        raise ToolError("Number of passengers does not match")
    edited = state.agent.edit("reservations", reservation_id)
    edited["passengers"] = [person.model_dump() for person in people]
    return edited


def _kept(reservation: Record, info: FlightInfo, cabin: str) -> dict[str, Any] | None:
    """A flight of the reservation that stays, at the price once paid; not in another cabin."""
    if cabin != reservation["cabin"]:
        return None
    wanted = (info.flight_number, info.date)
    for held in reservation["flights"]:
        if (held["flight_number"], held["date"]) == wanted:
            return dict(held)
    return None


def _fares(segments: list[dict[str, Any]]) -> int:
    return sum(one["price"] for one in segments)
