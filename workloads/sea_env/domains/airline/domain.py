"""The airline as a `Domain`."""

from sea_env.domains import common_tools
from sea_env.domains.airline import flights, lookup, reservations
from sea_env.domains.airline.records import AirlineTables
from sea_env.domains.tool_domain import ToolDomain


class Airline(ToolDomain):
    """14 tools of the agent in tau2-bench's order, no user tools, three tables."""

    name = "airline"
    policy_file = "airline_policy.md"
    agent_model = AirlineTables
    tools = (
        reservations.book_reservation,
        common_tools.calculate,
        reservations.cancel_reservation,
        lookup.get_reservation_details,
        lookup.get_user_details,
        flights.list_all_airports,
        flights.search_direct_flight,
        flights.search_onestop_flight,
        reservations.send_certificate,
        common_tools.transfer_to_human_agents,
        reservations.update_reservation_baggages,
        reservations.update_reservation_flights,
        reservations.update_reservation_passengers,
        flights.get_flight_status,
    )
