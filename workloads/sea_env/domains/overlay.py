"""Copy-on-write view of a database: an episode holds the records that it changed, nothing else.

A database is `{table: {key: record}}`. All open episodes share the records of the base, which are
never written; the first `edit` of a record gives the episode its own (`edited_record.py`).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sea_env.domains.edited_record import EditedRecord, copied, plain

Record = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, Any]]
"""Records by table and key. A table may also hold plain values (a phone's settings by name)."""
_ABSENT = object()
Change = dict[str, Any]
"""`{"path": JSON pointer, "value": new value}`, or `"removed": True` instead of a value."""


class Overlay:
    """One episode's view of one side's tables."""

    __slots__ = ("_base", "_own", "writes")

    def __init__(self, base: Tables) -> None:
        self._base = base
        self._own: dict[tuple[str, str], Any] = {}
        self.writes = 0
        """Number of writes so far: an observer compares it to detect changes."""

    def get(self, table: str, key: str) -> Record | None:
        """The record for reading only, or None. Accepts any key, also one of a wrong type."""
        own = self._own.get((table, key)) if isinstance(key, str) else None
        if own is not None:
            return own
        return self._base[table].get(key) if isinstance(key, str) else None

    def value(self, table: str, key: str) -> Any:
        """A plain value of a table that has this key; unlike a record it may be null."""
        own = self._own.get((table, key), _ABSENT)
        return self._base[table][key] if own is _ABSENT else own

    def set(self, table: str, key: str, value: Any) -> None:
        """Replaces a plain value; setting the present value again is no write."""
        if self.value(table, key) != value:
            self._own[table, key] = value
            self.writes += 1

    def owns(self, table: str, key: str) -> bool:
        """Whether this episode has its own copy of the record."""
        return (table, key) in self._own

    def touched(self, table: str) -> bool:
        """Whether this episode has its own copy of any record of the table."""
        return any(owned == table for owned, _ in self._own)

    def edit(self, table: str, key: str) -> dict[str, Any]:
        """The record for writing; it must exist."""
        self.writes += 1
        own: dict[str, Any] | None = self._own.get((table, key))
        if own is None:
            base = self._base[table][key]
            own = EditedRecord(base) if type(base) is dict else copied(base)
            self._own[table, key] = own
        return own

    def put(self, table: str, key: str, record: dict[str, Any]) -> None:
        """Adds or replaces a whole record."""
        self.writes += 1
        self._own[table, key] = record

    def items(self, table: str) -> Iterator[tuple[str, Any]]:
        """All records of a table: those of the base in its order, then the added ones."""
        for key, record in self._base[table].items():
            yield key, self._own.get((table, key), record)
        for (owned_table, key), record in self._own.items():
            if owned_table == table and key not in self._base[table]:
                yield key, record

    def changes(self, listed: Collection[str] = ()) -> list[Change]:
        """What differs from the base, sorted by path; equal lists mean equal databases.

        `listed` names the tables that are lists in the layout of the database's file: a list is one
        value, so such a table appears whole, in the base's order.
        """
        found: list[Change] = []
        lists: set[str] = set()
        for (table, key), value in self._own.items():
            differences = self._changes_at(table, key, value)
            if table not in listed:
                found.extend(differences)
            elif table not in lists and next(differences, None) is not None:
                lists.add(table)
                whole = [plain(record) for _, record in self.items(table)]
                found.append({"path": f"/{table}", "value": whole})
        return sorted(found, key=lambda change: str(change["path"]))

    def _changes_at(self, table: str, key: str, value: Any) -> Iterator[Change]:
        path, base = f"/{table}/{_escape(key)}", self._base[table]
        if key in base:
            yield from differences(path, base[key], value)
        else:
            yield {"path": path, "value": value}

    def folded(self) -> Tables:
        """Base and changes as new tables, which share the unchanged records with the base.

        The overlay must not be written afterwards: the tables share its own records too.
        """
        tables = {name: dict(records) for name, records in self._base.items() if self.touched(name)}
        for (table, key), value in self._own.items():
            tables[table][key] = plain(value)
        return {**self._base, **tables}


def differences(path: str, old: Any, new: Any) -> Iterator[Change]:
    """How one JSON value differs from another; a list that differs appears whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in old:
            if key not in new:
                yield {"path": f"{path}/{_escape(key)}", "removed": True}
        for key, value in new.items():
            place = f"{path}/{_escape(key)}"
            if key not in old:
                yield {"path": place, "value": plain(value)}
            else:
                yield from differences(place, old[key], value)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield {"path": path, "value": plain(new)}


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
