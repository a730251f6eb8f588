"""A record that an episode changes: it holds what was changed, and shares the rest with the base.

Tools write to it as to a dict. A nested list or object is the base's own until a tool asks for it:
a list is copied then, an object again field by field, so the base is never written. The same goes
for a value that a tool has set, since `record["items"] = list(items)` shares each item with the
base: go through the record to change it afterwards, not through the name it was set by. A list that
was read holds what a tool appends to it as it is: append copies, or use `extend`.

What is still the base's own is written as JSON once for all episodes: the answer of most writes is
a record of a kilobyte of which a line changed.
"""

import json.encoder
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Self

_CONTAINERS = (dict, list)
_NOTHING: list[Any] = []
_NONE_OWNED: dict[str, Any] = {}
_raw = dict.__getitem__
_quoted = json.encoder.encode_basestring_ascii
_BaseText = tuple[list[str], dict[str, int], list[str]]
"""A record of the base as JSON: `"key": value` of each field, its index by key, its `"key": `."""


class EditedRecord(dict[str, Any]):
    """A dict over `base`, a record that must not change as long as this one is used."""

    __slots__ = ("_base", "_changed", "_lasting", "_owned", "_removed", "_view")

    def __init__(self, base: dict[str, Any], lasting: bool = True) -> None:
        """`lasting`: the base is the database's, as is all that is in it; not this episode's."""
        dict.__init__(self, base)
        self._base, self._lasting = base, lasting
        self._changed: dict[str, list[Any] | None] = {}
        """By key: None for a value that is no longer the base's own, what `extend` added for a
        list whose other items still are."""
        self._owned = _NONE_OWNED
        """By key, copies that are this record's alone, with all that is in them."""
        self._removed = False
        self._view: dict[str, Any] | None = None
        """What `folded` returned, as long as it is true."""

    # All ways to a nested value lead through __getitem__, all changes through __setitem__,
    # __delitem__, `extend` and `assign`.

    def __getitem__(self, key: str) -> Any:
        value = _raw(self, key)
        # By exact type: what JSON has.
        if type(value) in _CONTAINERS and self._owned.get(key) is not value:
            of_base = self._changed.get(key, _NOTHING) is not None
            if of_base and type(value) is dict:
                value = self[key] = EditedRecord(value, self._lasting)
            else:
                value = self[key] = copied(value)
                self._owned = {**self._owned, key: value}
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._changed[key] = self._view = None
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        dict.__delitem__(self, key)
        self._removed, self._view = True, None

    def __iter__(self) -> Iterator[str]:
        # Not dict's own, so `dict(record)` and `**record` ask __getitem__ too: CPython would take
        # the values past it otherwise.
        return super().__iter__()

    def extend(self, key: str, added: list[Any]) -> None:
        """As `self[key] += added`, without a copy of the items that the list has."""
        present, before = _raw(self, key), self._changed.get(key, _NOTHING)
        if self._owned.get(key, _NOTHING) is present:
            present.extend(copied(added))  # what is owned shares nothing with the base
            return
        whole = [*present, *added]  # raises for what is no list, before anything has changed
        self._changed[key] = None if before is None else [*before, *added]
        self._view = None
        dict.__setitem__(self, key, whole)

    def assign(self, values: dict[str, Any]) -> None:
        """As `self[key] = value` for each of them, in one step."""
        dict.update(self, values)
        self._changed.update(dict.fromkeys(values))
        self._view = None

    get = MutableMapping.get  # type: ignore[assignment]
    clear = MutableMapping.clear
    setdefault = MutableMapping.setdefault
    items = MutableMapping.items  # type: ignore[assignment]
    values = MutableMapping.values  # type: ignore[assignment]

    def update(self, *given: Any, **named: Any) -> None:
        for key, value in dict(*given, **named).items():
            self[key] = value

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

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        """The `copy` module, too, makes a plain dict."""
        return dict, (dict(self),)

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]
        self.update(other)
        return self

    def folded(self) -> dict[str, Any]:
        """The present record as a plain dict, for reading only: it shares values with the base."""
        if self._view is not None:
            return self._view
        if self._removed:
            return {key: plain(_raw(self, key)) for key in self}
        # From the base: CPython copies a subclass with an `__iter__` of its own key by key.
        found, lasting = self._base.copy(), True
        for key in self._changed:
            value = found[key] = _raw(self, key)
            if type(value) is EditedRecord:
                found[key], lasting = value.folded(), False
        if lasting:  # a nested record changes without a word to this one
            self._view = found
        return found

    def text(
        self, encode: Callable[[Any], str], separators: tuple[str, str], memo: dict[Any, Any]
    ) -> str:
        """The record as JSON.

        Args:
            encode: `json_encoder` of these separators.
            memo: of the base (`Database.memo`), as long-lived as its records.
        """
        if self._removed or not self._lasting:
            return encode(self.folded())
        item, colon = separators
        # By identity: the base outlives its memo, and no two records of it are one object.
        place = (item, id(self._base))
        known: _BaseText | None = memo.get(place)
        if known is None:
            known = memo[place] = _base_text(self._base, encode, colon)
        shared, places, heads = known
        fields = shared.copy()
        for key, added in self._changed.items():
            index = places.get(key)
            if added:
                assert index is not None, "only a list of the base is extended"
                comma = item if self._base[key] else ""
                fields[index] = f"{fields[index][:-1]}{comma}{encode(added)[1:]}"
            elif added is None:
                value = _raw(self, key)
                kind = type(value)
                if kind is str:  # most are: a status, a reason
                    text = _quoted(value)
                elif kind is EditedRecord:
                    text = value.text(encode, separators, memo)
                else:
                    text = encode(value)
                if index is None:
                    fields.append(f"{encode(key)}{colon}{text}")
                else:
                    fields[index] = heads[index] + text
        return f"{{{item.join(fields)}}}"


def _base_text(base: Mapping[str, Any], encode: Callable[[Any], str], separator: str) -> _BaseText:
    heads = [f"{encode(key)}{separator}" for key in base]
    fields = [head + encode(value) for head, value in zip(heads, base.values(), strict=True)]
    return fields, {key: index for index, key in enumerate(base)}, heads


def extend(record: dict[str, Any], key: str, added: list[Any]) -> None:
    """`record[key] += added` for a record that `Overlay.edit` returned.

    Most writes add to a history: this neither copies what the history holds nor writes it as JSON
    again, which would be a third of such a call.
    """
    if isinstance(record, EditedRecord):
        record.extend(key, added)
    else:  # a record that isn't in its table yet
        record[key] += added


def assign(record: dict[str, Any], **values: Any) -> None:
    """`record[key] = value` for each, of a record that `Overlay.edit` returned."""
    if isinstance(record, EditedRecord):
        record.assign(values)
    else:  # a record that isn't in its table yet
        record.update(values)


def plain(value: Any) -> Any:
    """A value of a table without `EditedRecord`s."""
    return value.folded() if type(value) is EditedRecord else value


def json_encoder(separators: tuple[str, str]) -> Callable[[Any], str]:
    """A function that writes JSON as `json.dumps` does, in half the time for small values.

    `dumps` makes an encoder for each call and searches for cycles; results are trees.
    """
    made = json.JSONEncoder(separators=separators, check_circular=False)
    quoted = _quoted
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
