"""An edited record is a dict whose base never changes, and its text is `json.dumps`'s."""

import copy
import json
import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sea_env.domains.edited_record import EditedRecord, assign, copied, extend, json_encoder
from sea_env.domains.overlay import Overlay

BASE: dict[str, Any] = {
    "id": "#W1",
    "price": 12.5,
    "paid": None,
    "address": {"city": "Zürich", "lines": ["a", "b"], "geo": {"x": 1, "y": [2]}},
    "items": [{"item": 1, "options": {"color": "red"}}, {"item": 2, "options": {}}],
    "empty": {},
    "tags": [1, {"a": []}],
    "none yet": [],
}
SEPARATORS = (", ", ": ")
ENCODE = json_encoder(SEPARATORS)
Change = Callable[[Any, random.Random], Any]


def empty_lists(record: Any) -> None:
    for value in record.values():
        if isinstance(value, list):
            value.clear()


def as_list(value: Any) -> list[Any]:
    return [one for one in value if "options" in one] if isinstance(value, list) else []


CHANGES: list[Change] = [
    lambda r, rng: r.__setitem__(rng.choice(["id", "price", "new", "items"]), rng.random()),
    lambda r, _: r.get("address", {}) and r["address"].__setitem__("city", "Bern"),
    lambda r, _: r["address"]["lines"].append("c") if "address" in r else None,
    lambda r, _: r["address"]["geo"]["y"].append(3) if "address" in r else None,
    lambda r, _: [one["options"].update(size=7) for one in as_list(r.get("items"))],
    lambda r, _: empty_lists(r),
    lambda r, _: [value.update(seen=True) for _, value in r.items() if isinstance(value, dict)],
    lambda r, _: dict(r)["address"].__setitem__("city", "Genf") if "address" in r else None,
    lambda r, _: {**r}["items"].append({}) if isinstance(r.get("items"), list) else None,
    lambda r, _: extend(r, "items", [{"item": 3}]) if as_list(r.get("items")) else None,
    lambda r, rng: extend(r, "tags", [rng.random()]) if "tags" in r else None,
    lambda r, rng: extend(r, "none yet", [[]][: rng.randint(0, 1)]) if "none yet" in r else None,
    lambda r, rng: assign(r, id="#W3", tags=[rng.random()], more={"a": 1}),
    lambda r, _: r.copy(),
    lambda r, _: r.setdefault("empty", {}).__setitem__("now", 1),
    lambda r, _: r.setdefault("later", []).append(1),
    lambda r, _: r.pop("paid", None),
    lambda r, _: r.pop("address", None),
    lambda r, _: r.popitem() if r else None,
    lambda r, _: r.update({"id": "#W2"}, note="x"),
    lambda r, _: r.__ior__({"marks": ["t"]}),
    lambda r, _: r.__setitem__("tags", []),
    lambda r, _: (r | {"id": 1})["id"],
    lambda r, _: r.__delitem__("price") if "price" in r else None,
    lambda r, _: r.__setitem__("items", list(as_list(dict.get(r, "items")))),
    lambda r, _: assign(r, tags=dict.get(r, "tags"), copy={"city": "Bern"}),
    lambda r, _: r["copy"].update(city="Basel") if isinstance(r.get("copy"), dict) else None,
    lambda r, _: [one.update(price=0) for one in as_list(r.get("items"))],
    lambda r, _: [one.clear() for one in r["tags"][1:]] if "tags" in r else None,
    lambda r, _: empty_lists(copy.deepcopy(r)),
]
"""What a tool may do to a record."""


@pytest.mark.parametrize("seed", range(150))
def test_it_behaves_as_a_copy_of_the_base(seed: int) -> None:
    base, memo = copy.deepcopy(BASE), {}  # type: ignore[var-annotated]
    record, plain = EditedRecord(base), copied(base)
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 8)):
        number = rng.randrange(len(CHANGES))
        state = rng.getstate()
        CHANGES[number](record, rng)
        rng.setstate(state)
        CHANGES[number](plain, rng)
        assert record == plain
        assert list(record) == list(plain)
        assert record.text(ENCODE, SEPARATORS, memo) == json.dumps(plain)
        assert json.dumps(record) == json.dumps(plain)
    assert type(record.folded()) is dict
    assert record.folded() == plain
    assert base == BASE


def test_what_a_folded_record_shares_is_not_written_by_the_next_episode() -> None:
    first = Overlay({"orders": {"a": copy.deepcopy(BASE)}})
    first.edit("orders", "a")["address"]["city"] = "Bern"
    middle = first.folded()
    second = Overlay(middle)
    second.edit("orders", "a")["address"]["geo"]["y"].append(9)
    second.edit("orders", "a")["items"][0]["options"]["color"] = "blue"
    expected = {**BASE, "address": {**BASE["address"], "city": "Bern"}}
    assert middle["orders"]["a"] == expected
    assert type(middle["orders"]["a"]) is dict
    assert [one["path"] for one in second.changes()] == [
        "/orders/a/address/geo/y",
        "/orders/a/items",
    ]


Path = tuple[str | int, ...]
PATHS: tuple[Path, ...] = (
    ("items",),
    ("items", 0),
    ("items", 0, "options"),
    ("tags",),
    ("tags", 1),
)
PATHS += (("address",), ("address", "geo"), ("address", "lines"), ("empty",), ("none yet",))


def reached(record: Any, path: Path) -> Any:
    for step in path:
        record = record[step]
    return record


def shared(value: Any) -> Any:
    """A copy of the value alone, as `list(items)` makes it."""
    return list(value) if isinstance(value, list) else dict(value)


@given(data=st.data())
def test_no_change_of_any_nested_value_reaches_the_base(data: st.DataObject) -> None:
    """Whatever a tool sets from what it read: `record["items"] = list(order["items"])` shares its
    items, and the next change of one was a change of all episodes' database."""
    base = {"orders": {"a": copy.deepcopy(BASE), "b": copy.deepcopy(BASE)}}
    overlay = Overlay(base)
    for _ in range(data.draw(st.integers(1, 6))):
        key = data.draw(st.sampled_from(["a", "b", "c"]))
        read = overlay.get("orders", data.draw(st.sampled_from(["a", "b"])))
        path = data.draw(st.sampled_from(PATHS))
        assert read is not None
        if data.draw(st.booleans()) or (key == "c" and overlay.get("orders", "c") is None):
            overlay.put("orders", key, dict(read))
            continue
        record = overlay.edit("orders", key)
        if data.draw(st.booleans()):
            top = path[0]
            assert isinstance(top, str)
            value = read[top]
            record[top] = shared(value) if data.draw(st.booleans()) else value
        try:
            found = reached(record, path)
        except (LookupError, TypeError):
            continue  # an earlier change has removed it
        if isinstance(found, list):
            extend(record, str(path[0]), [{"more": 1}]) if len(path) == 1 else found.append(1)
            found.append({})
        elif isinstance(found, dict):
            found["changed"] = True
            found.pop("color", None)
    assert base == {"orders": {"a": BASE, "b": BASE}}


def test_what_is_added_to_a_list_that_was_read_is_the_records_own() -> None:
    """`extend` put the base's own item into the copy, where the next change reached the base."""
    base = {"orders": {"a": copy.deepcopy(BASE), "b": copy.deepcopy(BASE)}}
    overlay = Overlay(base)
    record, other = overlay.edit("orders", "a"), overlay.get("orders", "b")
    assert other is not None
    assert len(record["items"]) == len(BASE["items"])
    extend(record, "items", [other["items"][0]])
    record["items"][-1]["price"] = -1
    assert base == {"orders": {"a": BASE, "b": BASE}}


def test_a_record_that_was_put_and_edited_is_read_as_a_plain_dict() -> None:
    overlay = Overlay({"orders": {}})
    overlay.put("orders", "a", {"id": "#W1"})
    overlay.edit("orders", "a")["id"] = "#W2"
    (change,) = overlay.changes()
    for found in (change["value"], *(one for _, one in overlay.items("orders"))):
        assert type(found) is dict
        assert found == {"id": "#W2"}


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_put_from_an_edited_record_is_no_part_of_it_in_a_base(whole: bool) -> None:
    """An initial state's: each episode over it wrote to all others' database."""
    overlay = Overlay({"orders": {"a": copy.deepcopy(BASE)}})
    record = overlay.edit("orders", "a")
    address = record["address"]
    overlay.put("orders", "b", record if whole else {"address": address})
    address["city"] = "Basel"
    base = overlay.folded()
    put = copied(base["orders"]["b"])
    assert put["address"] == BASE["address"]
    Overlay(base).edit("orders", "b")["address"]["city"] = "Bern"
    assert base["orders"]["b"] == put


@pytest.mark.parametrize("key", ["a", "b"])
def test_a_record_that_was_put_is_edited_as_one(key: str) -> None:
    """The base's own record, put again, was another record at its second edit."""
    overlay = Overlay({"orders": {"a": copy.deepcopy(BASE)}})
    read = overlay.get("orders", "a")
    assert read is not None
    overlay.put("orders", key, read)  # type: ignore[arg-type]
    first = overlay.edit("orders", key)
    assert overlay.edit("orders", key) is first
    first["items"][0]["price"] = -1
    assert read == BASE


def test_the_text_of_a_value_that_was_set_is_its_own() -> None:
    """The memo outlives it: by its id another value would get its text."""
    memo: dict[Any, Any] = {}
    base = copy.deepcopy(BASE)
    for number in range(50):
        record = EditedRecord(base)
        record["address"] = {"city": str(number)}
        record["address"]["zip"] = number
        assert json.loads(record.text(ENCODE, SEPARATORS, memo)) == record
    assert len(memo) == 1


def test_the_copy_module_makes_plain_dicts() -> None:
    """`copy.deepcopy(record)` of a tool ended in an AttributeError, so in an error result."""
    record = EditedRecord(copy.deepcopy(BASE))
    record["id"] = "#W2"
    for made in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert type(made) is dict
        assert made == {**BASE, "id": "#W2"}
    made["items"][0]["options"]["color"] = "blue"
    assert record["items"] == BASE["items"]


def test_what_is_no_list_is_not_extended() -> None:
    record = EditedRecord({"history": None})
    with pytest.raises(TypeError):
        extend(record, "history", [1])
    assert record.text(ENCODE, SEPARATORS, {}) == json.dumps({"history": None})


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
@pytest.mark.parametrize(
    "value", ["é\n", 1, True, None, 1.5, [], {}, [{"a": [1, "b"]}], {"é": {"b": 1e22}}, ""]
)
def test_the_encoder_writes_as_json_dumps(separators: tuple[str, str], value: Any) -> None:
    assert json_encoder(separators)(value) == json.dumps(value, separators=separators)


def test_the_encoder_of_a_python_without_the_c_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json.encoder, "c_make_encoder", None)
    assert json_encoder((", ", ": "))({"a": [1, "é"]}) == json.dumps({"a": [1, "é"]})


def test_the_encoder_refuses_what_json_has_not() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        ENCODE({"a": object()})


def test_changes_hold_plain_values_only() -> None:
    overlay = Overlay({"users": {"u": {"home": {"city": "Bern"}, "last": None}}})
    user = overlay.edit("users", "u")
    user["last"] = user["home"]  # what is nested in a record, in another place
    user["new"] = user["home"]
    found = {one["path"]: one["value"] for one in overlay.changes()}
    assert found == {"/users/u/last": {"city": "Bern"}, "/users/u/new": {"city": "Bern"}}
    assert {type(value) for value in found.values()} == {dict}
