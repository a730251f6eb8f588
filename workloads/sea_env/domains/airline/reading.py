"""Airline tools that show a record: users and reservations."""

from sea_env.domains.airline import lookup
from sea_env.domains.base import Kind
from sea_env.domains.environment import State
from sea_env.domains.toolkit import tool


@tool(Kind.READ)
def get_user_details(state: State, user_id: str) -> str:
    """Get a user's profile, including payment methods, membership and reservations."""
    lookup.user(state, user_id)
    return state.text("users", user_id)


@tool(Kind.READ)
def get_reservation_details(state: State, reservation_id: str) -> str:
    """Get the flights, passengers, payments, bags and status of a reservation."""
    lookup.reservation(state, reservation_id)
    return state.text("reservations", reservation_id)
