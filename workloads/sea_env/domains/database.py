"""Databases as bytes -> `Database`, the immutable base that all episodes of a file share."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_env.domains.overlay import Tables
from sea_env.errors import EnvError
from sea_env.tokens import plain_json

_SUFFIX = re.compile(r"\.(json|toml)(\.\w+)?$")


class DatabaseError(EnvError):
    """A database file that can't be read: which one, where, why."""


@dataclass(frozen=True, eq=False)
class Database:
    """Both sides' tables. Treat as frozen: episodes share it.

    `memo` caches what was computed from this very base (expected end states) for as long as the
    base lives. If `user` is the same object as `agent`, both sides work on one database.
    """

    agent: Tables
    user: Tables = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    session: Mapping[str, Any] = field(default_factory=dict)
    """What an episode's scratch space begins with."""
    initial: str = ""
    """`initial_state.identity` of the initial state that is set up in this base; empty if none."""


def parse_tables(data: bytes, name: str) -> dict[str, Any]:
    """Reads JSON or TOML by the file's suffix; the top level must be an object of objects.

    Raises DatabaseError with the file's name and what is wrong in it.
    """
    try:
        # utf-8-sig: editors on Windows write a byte order mark, which no parser accepts.
        text = data.decode("utf-8-sig")
        value = tomllib.loads(text) if name.endswith(".toml") else plain_json.loads(text)
        plain_json.check(value)  # TOML has nan and inf
    except (ValueError, RecursionError) as error:
        kind = "TOML" if name.endswith(".toml") else "JSON"
        raise DatabaseError(f"The database {name} isn't valid {kind}: {error}.") from error
    if not isinstance(value, dict):
        raise DatabaseError(f"The database {name} must be an object of tables at its top level.")
    return value


def parse_user_tables(data: bytes | None) -> dict[str, Any]:
    """The user's database file, JSON or TOML; empty if there is none."""
    if data is None:
        return {}
    # The file's name isn't known here; TOML can't begin with a brace.
    return parse_tables(data, "user_db" + (".json" if data.lstrip()[:1] == b"{" else ".toml"))


def user_files(name: str) -> list[str]:
    """Names of the user's database file next to the agent's: `x_user_db.json|toml` for `x_db.toml`.

    The agent's file may be compressed (`x_db.toml.gz`), the user's is small and isn't.
    """
    stem = _SUFFIX.sub("", name)
    user = f"{stem[:-2]}user_db" if stem.endswith("db") else f"{stem}_user_db"
    return [f"{user}.json", f"{user}.toml"]


def require_tables(tables: Mapping[str, Any], wanted: tuple[str, ...], name: str) -> None:
    """Raises DatabaseError unless the top-level tables are exactly those of the domain."""
    missing = [table for table in wanted if not isinstance(tables.get(table), dict)]
    if missing:
        raise DatabaseError(f"The database {name} has no table {missing[0]!r}.")
    unknown = sorted(set(tables) - set(wanted))
    if unknown:
        raise DatabaseError(
            f"The database {name} has the unknown table {unknown[0]!r}; "
            f"this domain knows {', '.join(wanted)}."
        )
