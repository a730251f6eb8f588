"""The airline as a `Domain`: tools, prompt with schemas, reader of tau2's database layout."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sea_env.domains import desk, fields
from sea_env.domains.airline import booking, changing, flights, reading
from sea_env.domains.airline.layout import AirlineTables
from sea_env.domains.base import Tool
from sea_env.domains.database import Database, parse_tables, require_tables
from sea_env.domains.environment import Toolbox, ToolEnvironment
from sea_env.domains.overlay import Tables
from sea_env.domains.prompt import customer_service_prompt
from sea_env.domains.reading import validated, validated_part

TABLES = ("flights", "users", "reservations")
TOOLS = (
    booking.book_reservation,
    desk.calculate,
    booking.cancel_reservation,
    reading.get_reservation_details,
    reading.get_user_details,
    flights.list_all_airports,
    flights.search_direct_flight,
    flights.search_onestop_flight,
    booking.send_certificate,
    desk.transfer_to_human_agents,
    changing.update_reservation_baggages,
    changing.update_reservation_flights,
    changing.update_reservation_passengers,
    flights.get_flight_status,
)


def _records(raw: Mapping[str, Any]) -> Tables:
    name = "with the task's initial data"
    read = validated_part(AirlineTables, raw, name)
    fields.tell_left_out(Airline.name, raw, read, name)
    return read


_BOX = Toolbox(agent={tool.name: tool for tool in TOOLS}, user={}, assertions={}, records=_records)


class Airline:
    """Stateless; one serves all episodes."""

    name = "airline"
    tools: Sequence[Tool] = TOOLS
    user_tools: Sequence[Tool] = ()
    assertions: Collection[str] = ()
    max_bad_turns = 3
    policy_file: str | None = "airline_policy.md"

    def system_prompt(self, policy: str | None = None) -> str:
        return customer_service_prompt(policy or "", self.tools)

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        tables = parse_tables(data, name)
        require_tables(tables, TABLES, name)
        read = validated(AirlineTables, tables, name)
        fields.tell_left_out(self.name, tables, read, name)
        return Database(read)

    def open(self, database: Database) -> ToolEnvironment:
        return ToolEnvironment(database, _BOX)
