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
Change = dict[str, Any]
"""`{"path": JSON pointer, "value": new value}`, or `"removed": True` instead of a value."""


class Overlay:
    """One episode's view of one side's tables."""

    __slots__ = ("_base", "_own", "_put", "writes")

    def __init__(self, base: Tables) -> None:
        self._base = base
        self._own: dict[str, dict[str, Any]] = {}
        """By table, the records that this episode changed or added. A table of plain values is
        copied whole by its first `set`: a phone is twenty fields, and most calls read ten."""
        self._put: set[tuple[str, str]] = set()
        """Records that `put` has left and nobody has edited: they may share parts with the base."""
        self.writes = 0
        """Number of writes so far that the other side may have to follow (`Toolbox.sync`)."""

    def get(self, table: str, key: str) -> Record | None:
        """The record as it is now, for reading only, or None.

        Accepts any key, also one of a wrong type.
        """
        if not isinstance(key, str):
            return None
        own = self._own.get(table)
        if own is not None:
            found = own.get(key)
            if found is not None:
                # Read from an `EditedRecord`, nested values would be copied.
                return plain(found)
        return self._base[table].get(key)

    def own(self, table: str, key: str) -> Any:
        """What `edit` or `put` has left here of a record; None if it is the base's."""
        return self._own[table].get(key) if self.owns(table, key) else None

    def value(self, table: str, key: str) -> Any:
        """A plain value of a table that has this key; unlike a record it may be null."""
        own = self._own.get(table)
        return self._base[table][key] if own is None or key not in own else own[key]

    def values(self, table: str) -> Mapping[str, Any]:
        """All of a table of plain values, for reading only, as it is until the next write."""
        base, own = self._base[table], self._own.get(table)
        if own is None:
            return base
        return own if len(own) >= len(base) else {**base, **own}

    def set(self, table: str, values: Mapping[str, Any], *, counted: bool = True) -> None:
        """Replaces plain values; setting a present value again is no write.

        With `counted` False, `writes` stays: for what means nothing to the other side.
        """
        base, own = self._base[table], self._own.get(table)
        if own is None:
            own = dict(base)
        elif len(own) < len(base):
            own = {**base, **own}
        changed = 0
        for key, value in values.items():
            if own[key] != value:
                own[key] = value
                changed += 1
        if changed:
            self._own[table] = own
            self.writes += changed if counted else 0

    def owns(self, table: str, key: str) -> bool:
        """Whether this episode has its own copy of the record."""
        own = self._own.get(table)
        return own is not None and key in own and own[key] is not self._base[table].get(key)

    def touched(self, table: str) -> bool:
        """Whether this episode has its own copy of any record of the table."""
        return table in self._own

    def edit(self, table: str, key: str) -> dict[str, Any]:
        """The record for writing; raises KeyError, and changes nothing, if there is none."""
        own = self._own.get(table)
        found: dict[str, Any] | None = None if own is None else own.get(key)
        base = self._base[table].get(key)
        if found is None and base is None:
            raise KeyError(key)
        # The base's own record may be here: `set` copies a table, not the values in it.
        if found is None or found is base:
            found = EditedRecord(base) if type(base) is dict else copied(base)
            self._own.setdefault(table, {})[key] = found
            self._put.discard((table, key))
        elif self._put and (table, key) in self._put:
            self._put.remove((table, key))
            found = self._own[table][key] = EditedRecord(found, lasting=False)
        self.writes += 1
        return found

    def put(self, table: str, key: str, record: dict[str, Any]) -> None:
        """Adds or replaces a whole record; from here on it is changed through `edit` alone."""
        # Part of an edited record is copied: `folded` would leave it in a base, where all episodes
        # read what one of them writes.
        if EditedRecord in (type(record), *map(type, record.values())):
            record = copied(record)
        self.writes += 1
        self._put.add((table, key))
        self._own.setdefault(table, {})[key] = record

    def items(self, table: str) -> Iterator[tuple[str, Any]]:
        """All records of a table: those of the base in its order, then the added ones."""
        base, own = self._base[table], self._own.get(table, {})
        for key, record in base.items():
            yield key, plain(own.get(key, record))
        for key, record in own.items():
            if key not in base:
                yield key, plain(record)

    def changes(self, listed: Collection[str] = ()) -> list[Change]:
        """What differs from the base, sorted by path; equal lists mean equal databases.

        `listed` names the tables that are lists in the layout of the database's file: a list is one
        value, so such a table appears whole, in the base's order.
        """
        found: list[Change] = []
        for table in self._own:
            differences = self._changes_in(table)
            if table not in listed:
                found.extend(differences)
            elif next(differences, None) is not None:
                whole = [record for _, record in self.items(table)]
                found.append({"path": f"/{table}", "value": whole})
        return sorted(found, key=lambda change: str(change["path"]))

    def _changes_in(self, table: str) -> Iterator[Change]:
        base = self._base[table]
        for key, value in self._own[table].items():
            path = f"/{table}/{_escape(key)}"
            if key in base:
                yield from differences(path, base[key], plain(value))
            else:
                yield {"path": path, "value": plain(value)}

    def folded(self) -> Tables:
        """Base and changes as new tables, which share the unchanged records with the base.

        The overlay must not be written afterwards: the tables share its own records too.
        """
        changed = {
            table: {**self._base[table], **{key: plain(value) for key, value in own.items()}}
            for table, own in self._own.items()
        }
        return {**self._base, **changed}


def differences(path: str, old: Any, new: Any) -> Iterator[Change]:
    """How one JSON value differs from another; a list that differs appears whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in old:
            if key not in new:
                yield {"path": f"{path}/{_escape(key)}", "removed": True}
        for key, value in new.items():
            place = f"{path}/{_escape(key)}"
            if key not in old:
                yield {"path": place, "value": value}
            else:
                yield from differences(place, old[key], value)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield {"path": path, "value": new}


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
