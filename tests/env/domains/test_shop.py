"""The shop: its tools, its data set, its held-out entities; every task is solvable."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from sea_data.formats import rl, shop_dataset
from sea_env.domains import registry
from sea_env.domains.database import DatabaseError
from sea_env.domains.shop import entities
from sea_env.domains.shop.entities import Split
from sea_env.tasks.task import Task

SHOP = registry.get("shop")
TABLES = {
    "users": {"Kim5@shop": {"email": "Kim5@shop", "name": "Kim"}},
    "orders": {
        "A7": {
            "order": "A7",
            "email": "Kim5@shop",
            "status": "pending",
            "total": 35,
            "address": "Elm 5",
            "refunded": 0,
        }
    },
    "desk": {"state": {"transferred": False}},
}


def test_tools_change_what_they_report() -> None:
    world = SHOP.open(SHOP.parse(json.dumps(TABLES).encode(), "x.json"))
    assert world.call("get_order", {"order": "A7"}).error, "no customer is identified yet"
    assert world.call("find_user", {"email": "Kim5@shop"}).content == '{"name":"Kim"}'
    assert world.call("get_order", {"order": "A7"}).content == '{"status":"pending","total":35}'
    assert world.call("cancel_order", {"order": "A7"}).content == '{"status":"cancelled"}'
    assert world.call("change_address", {"order": "A7", "address": "Oak 1"}).error is False
    assert world.call("refund", {"order": "A7", "amount": 36}).error
    assert world.call("refund", {"order": "A7", "amount": 35}).error is False
    assert world.call("transfer", {}).content == '{"transferred":true}'
    assert world.changes() == [
        {"path": "/desk/state/transferred", "value": True},
        {"path": "/orders/A7/address", "value": "Oak 1"},
        {"path": "/orders/A7/refunded", "value": 35},
        {"path": "/orders/A7/status", "value": "cancelled"},
    ]


def test_held_out_entities_are_new_combinations_of_seen_tokens() -> None:
    places: list[Callable[[str], str]] = [
        lambda e: e.split("@")[0][:-1],
        lambda e: e.split("@")[0][-1],
    ]
    for of in (entities.orders, entities.emails):
        train, test = of(Split.TRAIN), of(Split.TEST)
        assert not set(train) & set(test)
        assert set(train) | set(test) == set(of(Split.ALL))
        assert 0.1 < len(test) / len(train) < 0.4
        for place in places:
            assert {place(e) for e in test} <= {place(e) for e in train}


@pytest.fixture(scope="module")
def files() -> dict[str, list[str]]:
    sizes = shop_dataset.Sizes(300, 200, 100, 3, 2)
    return {name: list(lines) for name, lines in shop_dataset.files(sizes, seed=3)}


def test_training_never_shows_a_held_out_entity(files: dict[str, list[str]]) -> None:
    seen = "".join(files["sft.jsonl"] + files["rl_train.jsonl"])
    held_out = entities.emails(Split.TEST) + [f"order {o}" for o in entities.orders(Split.TEST)]
    assert not [entity for entity in held_out if entity in seen]
    tested = "".join(files["rl_test.jsonl"])
    assert not [e for e in entities.emails(Split.TRAIN) if e in tested]


def test_same_seed_same_files(files: dict[str, list[str]]) -> None:
    again = {
        n: list(x) for n, x in shop_dataset.files(shop_dataset.Sizes(300, 200, 100, 3, 2), seed=3)
    }
    assert again == files
    other = {
        n: list(x) for n, x in shop_dataset.files(shop_dataset.Sizes(300, 200, 100, 3, 2), seed=4)
    }
    assert other["rl_test.jsonl"] != files["rl_test.jsonl"]


@pytest.mark.parametrize("name", ["rl_train.jsonl", "rl_test.jsonl"])
def test_every_task_is_solved_by_the_teacher(files: dict[str, list[str]], name: str) -> None:
    rng = random.Random(0)
    for found in rl.read((line.encode() for line in files[name]), name):
        assert isinstance(found, Task), found
        database = SHOP.parse(files[found.db_path or ""][0].encode(), "x.json")
        assert shop_dataset.play(found, database, rng.getrandbits(32))[1] == 1.0


def test_every_dialogue_reached_its_goal(files: dict[str, list[str]]) -> None:
    for line in files["sft.jsonl"] + files["user_sft.jsonl"]:
        assert json.loads(line)["metadata"]["reward"] == 1.0


def test_the_user_model_also_learns_to_answer_an_agent_that_slips(
    files: dict[str, list[str]],
) -> None:
    clean, slipping = ("".join(files[name]) for name in ("sft.jsonl", "user_sft.jsonl"))
    assert "I don't understand." not in clean
    assert slipping.count("I don't understand.") > 20


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"orders": {"A1": "x"}}, r"orders\.A1: Input should be"),
        ({"users": {"a": {"email": "a"}}}, r"users\.a\.name: Field required"),
        ({"users": {"a": {"email": "a", "name": "A", "age": 3}}}, r"users\.a\.age: Extra inputs"),
        ({"desk": {}}, r"desk\.state: Field required"),
    ],
)
def test_broken_databases_are_refused(change: dict[str, Any], reason: str) -> None:
    tables = {"users": {}, "orders": {}, "desk": {"state": {"transferred": False}}}
    domain = registry.get("shop")
    assert domain.parse(json.dumps(tables).encode(), "x.json").agent == tables
    with pytest.raises(DatabaseError, match=reason):
        domain.parse(json.dumps({**tables, **change}).encode(), "x.json")
