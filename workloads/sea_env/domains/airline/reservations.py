"""Airline tools that write: book, cancel and change reservations, send certificates."""

from collections.abc import Mapping
from typing import Any

from sea_env.domains.airline import lookup, payments
from sea_env.domains.airline.records import (
    Cabin,
    FlightInfo,
    FlightType,
    Insurance,
    Passenger,
    Payment,
)
from sea_env.domains.base import Kind, ToolError
from sea_env.domains.edited_record import assign, extend
from sea_env.domains.overlay import Record
from sea_env.domains.state import State
from sea_env.domains.toolkit import tool

NOW = "2024-05-15T15:00:00"
"""The fixed time of all calls, as in tau2-bench: the same calls give the same database."""

# Published tasks name these ids in later calls, so new records must get exactly these.
_RESERVATION_IDS = ("HATHAT", "HATHAU", "HATHAV")
_CERTIFICATE_IDS = ("certificate_3221322", "certificate_3221323", "certificate_3221324")


@tool(Kind.WRITE)
def book_reservation(
    state: State,
    user_id: str,
    origin: str,
    destination: str,
    flight_type: FlightType,
    cabin: Cabin,
    flights: list[FlightInfo | dict[str, Any]],
    passengers: list[Passenger | dict[str, Any]],
    payment_methods: list[Payment | dict[str, Any]],
    total_baggages: int,
    nonfree_baggages: int,
    insurance: Insurance,
) -> Mapping[str, Any]:
    """Book a reservation. The payments must add up to the fares of all passengers, bag fees and
    insurance. Ask the user for an explicit confirmation (yes) first."""
    people = lookup.parse_objects(Passenger, passengers, "passenger")
    paid = lookup.parse_objects(Payment, payment_methods, "payment")
    wanted = lookup.parse_objects(FlightInfo, flights, "flight")
    user = lookup.user(state, user_id)
    # Everything that may fail comes first: a refused booking must leave the database as it was.
    reservation_id = _free_id(state)
    segments = [_segment(state, info, cabin, len(people)) for info in wanted]
    fares = sum(one["price"] for one in segments) * len(people)
    insured = payments.INSURANCE_FEE * len(people) if insurance == "yes" else 0
    payments.check_booking(user, paid, fares + insured + payments.BAG_FEE * nonfree_baggages)
    for one in segments:
        seats = state.agent.edit("flights", one["flight_number"])["dates"][one["date"]]
        seats["available_seats"][cabin] -= len(people)
    edited = state.agent.edit("users", user_id)
    payments.take(edited, paid)
    extend(edited, "reservations", [reservation_id])
    booked = {
        "reservation_id": reservation_id,
        "user_id": user_id,
        "origin": origin,
        "destination": destination,
        "flight_type": flight_type,
        "cabin": cabin,
        "flights": segments,
        "passengers": people,
        "payment_history": paid,
        "created_at": NOW,
        "total_baggages": total_baggages,
        "nonfree_baggages": nonfree_baggages,
        "insurance": insurance,
        "status": None,
    }
    state.agent.put("reservations", reservation_id, booked)
    return booked


@tool(Kind.WRITE)
def cancel_reservation(state: State, reservation_id: str) -> Mapping[str, Any]:
    """Cancel a whole reservation; every payment is refunded to where it came from within days.
    Ask the user for an explicit confirmation (yes) first."""
    reservation = lookup.reservation(state, reservation_id)
    refunds = [
        {"payment_id": paid["payment_id"], "amount": -paid["amount"]}
        for paid in reservation["payment_history"]
    ]
    edited = state.agent.edit("reservations", reservation_id)
    extend(edited, "payment_history", refunds)
    edited["status"] = "cancelled"
    return edited


@tool(Kind.WRITE)
def send_certificate(state: State, user_id: str, amount: int) -> str:
    """Give a user a travel certificate over an amount in dollars. It can't be taken back."""
    held = lookup.user(state, user_id)["payment_methods"]
    free = next((one for one in _CERTIFICATE_IDS if one not in held), None)
    if free is None:
        raise ToolError("Too many certificates")
    methods = state.agent.edit("users", user_id)["payment_methods"]
    methods[free] = {"source": payments.CERTIFICATE, "id": free, "amount": float(amount)}
    return f"Certificate {free} added to user {user_id} with amount {amount}."


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
    extend(edited, "payment_history", entries)
    assign(edited, total_baggages=total_baggages, nonfree_baggages=nonfree_baggages)
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
    wanted = lookup.parse_objects(FlightInfo, flights, "flight")
    reservation = lookup.reservation(state, reservation_id)
    user = lookup.user(state, reservation["user_id"])
    seats = len(reservation["passengers"])
    segments = [
        _kept(reservation, info, cabin) or _segment(state, info, cabin, seats) for info in wanted
    ]
    difference = (_fares(segments) - _fares(reservation["flights"])) * seats
    entries = payments.settle(state, user, payment_id, difference)
    # Like tau2-bench, this leaves the timetable's seats alone: see docs/domains/airline.md.
    edited = state.agent.edit("reservations", reservation_id)
    extend(edited, "payment_history", entries)
    assign(edited, flights=segments, cabin=cabin)
    return edited


@tool(Kind.WRITE)
def update_reservation_passengers(
    state: State, reservation_id: str, passengers: list[Passenger | dict[str, Any]]
) -> Mapping[str, Any]:
    """Replace the passengers of a reservation by as many others. Ask the user for an explicit
    confirmation (yes) first."""
    people = lookup.parse_objects(Passenger, passengers, "passenger")
    reservation = lookup.reservation(state, reservation_id)
    if len(people) != len(reservation["passengers"]):
        raise ToolError("Number of passengers does not match")
    edited = state.agent.edit("reservations", reservation_id)
    edited["passengers"] = people
    return edited


def _segment(state: State, info: FlightInfo, cabin: str, seats: int) -> dict[str, Any]:
    """A flight of a reservation at the current price; ToolError unless it can be booked."""
    number, date = info["flight_number"], info["date"]
    price = lookup.bookable(state, number, date, cabin, seats)
    flight = lookup.flight(state, number)
    return {
        "flight_number": number,
        "origin": flight["origin"],
        "destination": flight["destination"],
        "date": date,
        "price": price,
    }


def _free_id(state: State) -> str:
    for found in _RESERVATION_IDS:
        if state.agent.get("reservations", found) is None:
            return found
    raise ToolError("Too many reservations")


def _kept(reservation: Record, info: FlightInfo, cabin: str) -> dict[str, Any] | None:
    """A flight that stays in the reservation, at the price once paid; None in another cabin."""
    if cabin != reservation["cabin"]:
        return None
    wanted = (info["flight_number"], info["date"])
    for held in reservation["flights"]:
        if (held["flight_number"], held["date"]) == wanted:
            return dict(held)
    return None


def _fares(segments: list[dict[str, Any]]) -> int:
    return sum(one["price"] for one in segments)
