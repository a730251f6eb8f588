"""`State`: what a tool works on, and helpers that find records in it.

`ToolEnvironment` makes one per episode and passes it to every tool as the first argument.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sea_env.domains.base import ToolError
from sea_env.domains.database import Database
from sea_env.domains.edited_record import EditedRecord, json_encoder
from sea_env.domains.overlay import Overlay, Record

_SEPARATORS = (", ", ": ")
_ENCODE = json_encoder(_SEPARATORS)
Index = TypeVar("Index")
Key = TypeVar("Key")
Value = TypeVar("Value")


class State:
    """Both sides' overlays, and a scratch space (`session`) that is not part of a database."""

    __slots__ = ("agent", "memo", "session", "user")

    def __init__(self, database: Database) -> None:
        self.agent = Overlay(database.agent)
        # One overlay if both sides share a database, so that each sees the other's writes.
        self.user = self.agent if database.user is database.agent else Overlay(database.user)
        self.session: dict[str, Any] = dict(database.session)
        self.memo = database.memo

    def side(self, requestor: str) -> Overlay:
        """The database of the agent or of the user."""
        return self.user if requestor == "user" else self.agent

    def indexed(self, name: str, build: Callable[[], Index]) -> Index:
        """An index over parts of the base that no tool changes, built once per database."""
        known: Index | None = self.memo.get(("index", name))
        if known is None:
            known = self.memo["index", name] = build()
        return known

    def text(self, table: str, key: str) -> str:
        """A record of the agent's side as JSON, `null` if there is none.

        Texts of untouched records are built once and shared by all episodes.
        """
        # By table first: hardly any episode has written to a table that it reads from.
        if self.agent.touched(table) and (own := self.agent.own(table, key)) is not None:
            if isinstance(own, EditedRecord):
                return own.text(_ENCODE, _SEPARATORS, self.memo)
            return _ENCODE(own)
        texts = self.shared_texts(table)
        known = texts.get(key)
        if known is None:
            found = self.agent.get(table, key)
            known = _ENCODE(found)
            # A missing record isn't cached: the key is an argument of the caller, so the memo
            # would grow with every invented id.
            if found is not None:
                texts[key] = known
        return known

    def shared_texts(self, name: str) -> dict[str, str]:
        """What was written as JSON of the base's records, by key, for all episodes."""
        known: dict[str, str] | None = self.memo.get(("texts", name))
        if known is None:
            known = self.memo["texts", name] = {}
        return known


def finder(table: str, missing: str) -> Callable[[State, str], Record]:
    """A function that finds a record of the agent's side by key, for reading.

    It raises ToolError with the text `missing` (`{}` stands for the key) if there is none.
    """

    def find(state: State, key: str) -> Record:
        found = state.agent.get(table, key)
        if found is None:
            raise ToolError(missing.format(key))
        return found

    return find


def reader(table: str, missing: str) -> Callable[[State, str], str]:
    """As `finder`, but the function returns the record as JSON."""
    absent = _ENCODE(None)

    def read(state: State, key: str) -> str:
        text = state.text(table, key)
        if text == absent:
            raise ToolError(missing.format(key))
        return text

    return read


def first_by_key(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, Value]:
    """A dict that keeps the first value of each key, where `dict` keeps the last."""
    found: dict[Key, Value] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found
