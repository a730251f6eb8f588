"""The two databases as files have them -> tables by id, validated and completed."""

from collections.abc import Mapping
from typing import Any

from sea_env.domains.database import DatabaseError
from sea_env.domains.overlay import Tables
from sea_env.domains.reading import validated
from sea_env.domains.telecom.handset import UserTables
from sea_env.domains.telecom.records import TelecomTables

IDS = {
    "plans": "plan_id",
    "customers": "customer_id",
    "lines": "line_id",
    "bills": "bill_id",
    "devices": "device_id",
}
"""The agent's tables, lists in the file, and the field that names a record."""


def agent_tables(raw: Mapping[str, Any], name: str = "of telecom's agent") -> Tables:
    """Tables by id; they may also come as objects by id. Raises DatabaseError."""
    lists = {
        table: list(records.values()) if isinstance(records, Mapping) else records
        for table, records in raw.items()
    }
    found = validated(TelecomTables, lists, name)
    return {table: _by_id(table, found[table], name) for table in IDS}


def user_tables(raw: Mapping[str, Any], name: str = "of telecom's user") -> Tables:
    """Phone and surroundings; absent fields are those of a phone that works. Raises
    DatabaseError."""
    return validated(UserTables, raw, name)


def _by_id(table: str, records: list[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        key = record[IDS[table]]
        if key in found:
            raise DatabaseError(f"The database {name} has two {table} with the id {key!r}.")
        found[key] = record
    return found
