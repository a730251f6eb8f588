"""A record that an episode changes: it holds what was changed, and shares the rest with the base.

Tools write to it as to a dict. A nested list or object is the base's own until a tool asks for it:
a list is copied then, an object again field by field, so the base is never written. What is still
the base's own is written as JSON once for all episodes: the answer of most writes is a record of a
kilobyte of which a line changed.
"""

import json.encoder
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Self

_CONTAINERS = (dict, list)


@dataclass(frozen=True, slots=True)
class _BaseText:
    """A record of the base as JSON, field by field."""

    fields: list[str]
    """`"key": value` of each field."""
    places: dict[str, int]
    """Index in `fields` by key."""
    heads: list[str]
    """`"key": ` of each field."""


class EditedRecord(dict[str, Any]):
    """A dict over `base`, a record that must not change as long as this one is used."""

    __slots__ = ("_base", "_extended", "_removed", "_touched")

    def __init__(self, base: dict[str, Any]) -> None:
        super().__init__(base)
        self._base = base
        self._touched: dict[str, None] = {}
        """Keys whose values are no longer the base's own."""
        self._extended: dict[str, list[Any]] = {}
        """By key, what `extend` added to a list whose other items are still the base's own."""
        self._removed = False

    # All ways to a nested value lead through __getitem__, all changes through __setitem__ and
    # __delitem__.

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        # By exact type: what JSON has.
        if type(value) in _CONTAINERS and key not in self._touched:
            value = self[key] = EditedRecord(value) if type(value) is dict else copied(value)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._touched[key] = None
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._removed = True

    def __iter__(self) -> Iterator[str]:
        # Not dict's own, so `dict(record)` and `**record` ask __getitem__ too: CPython would take
        # the values past it otherwise.
        return super().__iter__()

    def extend(self, key: str, added: list[Any]) -> None:
        """As `self[key] += added`, without a copy of the items that the list has."""
        present = super().__getitem__(key)
        if key in self._touched:
            present.extend(added)
            return
        self._extended[key] = [*self._extended.get(key, ()), *added]
        super().__setitem__(key, [*present, *added])

    get = MutableMapping.get  # type: ignore[assignment]
    clear = MutableMapping.clear
    setdefault = MutableMapping.setdefault
    update = MutableMapping.update
    items = MutableMapping.items  # type: ignore[assignment]
    values = MutableMapping.values  # type: ignore[assignment]

    def pop(self, key: str, *default: Any) -> Any:
        found = self.get(key, *default) if default else self[key]
        if key in self:
            del self[key]
        return found

    def popitem(self) -> tuple[str, Any]:
        key = next(reversed(self))  # MutableMapping's takes the first
        return key, self.pop(key)

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]
        self.update(other)
        return self

    def folded(self) -> dict[str, Any]:
        """The present record as a plain dict, which shares untouched values with the base."""
        return {key: plain(super(EditedRecord, self).__getitem__(key)) for key in self}

    def text(
        self, encode: Callable[[Any], str], separators: tuple[str, str], memo: dict[Any, Any]
    ) -> str:
        """The record as JSON.

        Args:
            encode: `json_encoder` of these separators.
            memo: of the base (`Database.memo`), as long-lived as its records.
        """
        if self._removed:
            return encode(self.folded())
        item, colon = separators
        # By identity: the base outlives its memo, and no two records of it are one object.
        place = (item, id(self._base))
        known: _BaseText | None = memo.get(place)
        if known is None:
            known = memo[place] = _base_text(self._base, encode, colon)
        fields = known.fields.copy()
        for key, added in self._extended.items():
            if key not in self._touched and added:
                index = known.places[key]
                comma = item if self._base[key] else ""
                fields[index] = f"{fields[index][:-1]}{comma}{encode(added)[1:]}"
        for key in self._touched:
            found = super().__getitem__(key)
            if isinstance(found, EditedRecord):
                value = found.text(encode, separators, memo)
            else:
                value = encode(found)
            index = known.places.get(key)
            if index is None:
                fields.append(f"{encode(key)}{colon}{value}")
            else:
                fields[index] = known.heads[index] + value
        return f"{{{item.join(fields)}}}"


def _base_text(base: Mapping[str, Any], encode: Callable[[Any], str], separator: str) -> _BaseText:
    heads = [f"{encode(key)}{separator}" for key in base]
    fields = [head + encode(value) for head, value in zip(heads, base.values(), strict=True)]
    return _BaseText(fields, {key: index for index, key in enumerate(base)}, heads)


def extend(record: dict[str, Any], key: str, added: list[Any]) -> None:
    """`record[key] += added` for a record that `Overlay.edit` returned.

    Most writes add to a history: this neither copies what the history holds nor writes it as JSON
    again, which would be a third of such a call.
    """
    if isinstance(record, EditedRecord):
        record.extend(key, added)
    else:  # a record that this episode made
        record[key] += added


def plain(value: Any) -> Any:
    """A value of a table without `EditedRecord`s."""
    return value.folded() if isinstance(value, EditedRecord) else value


def json_encoder(separators: tuple[str, str]) -> Callable[[Any], str]:
    """A function that writes JSON as `json.dumps` does, in half the time for small values.

    `dumps` makes an encoder for each call and searches for cycles; results are trees.
    """
    made = json.JSONEncoder(separators=separators, check_circular=False)
    quoted = json.encoder.encode_basestring_ascii
    make = getattr(json.encoder, "c_make_encoder", None)  # CPython's own, None without its C code
    if make is None:
        return made.encode
    item, key = separators
    # As `JSONEncoder.iterencode` of CPython 3.11 to 3.13 makes it.
    write = make(None, made.default, quoted, None, key, item, False, False, True)
    join = "".join

    def encode(value: Any) -> str:
        if type(value) is str:
            return quoted(value)
        return str(value) if type(value) is int else join(write(value, 0))

    return encode


def copied(value: Any) -> Any:
    """A copy of a JSON value. `copy.deepcopy` tracks cycles and takes more than twice as long."""
    if isinstance(value, dict):
        return {
            key: copied(part) if isinstance(part, _CONTAINERS) else part
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [copied(part) if isinstance(part, _CONTAINERS) else part for part in value]
    return value
