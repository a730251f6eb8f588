"""Retail's rules, case by case, on a small database."""

import json
from typing import Any

import pytest

from sea_env.domains import registry
from sea_env.domains.base import Environment
from sea_env.domains.database import DatabaseError

RETAIL = registry.get("retail")
ADDRESS = {"address1": "1 A", "address2": "", "city": "C", "country": "X", "state": "S", "zip": "9"}


def variant(item: str, price: float, *, available: bool = True) -> dict[str, Any]:
    return {"item_id": item, "options": {"n": item}, "available": available, "price": price}


def order(identity: str, status: str, method: str = "card") -> dict[str, Any]:
    return {
        "order_id": identity,
        "user_id": "u",
        "address": ADDRESS,
        "items": [
            {"name": "Cup", "product_id": "p", "item_id": item, "price": price, "options": {}}
            for item, price in (("a", 10), ("b", 20))
        ],
        "status": status,
        "fulfillments": [],
        "payment_history": [
            {"transaction_type": "payment", "amount": 30, "payment_method_id": method}
        ],
    }


@pytest.fixture
def world() -> Environment:
    tables = {
        "products": {
            "p": {
                "name": "Cup",
                "product_id": "p",
                "variants": {
                    "a": variant("a", 10),
                    "c": variant("c", 15),
                    "d": variant("d", 27.5),
                    "out": variant("out", 1, available=False),
                },
            }
        },
        "users": {
            "u": {
                "user_id": "u",
                "name": {"first_name": "Ann", "last_name": "Lee"},
                "address": ADDRESS,
                "email": "Ann@x",
                "payment_methods": {
                    "card": {
                        "source": "credit_card",
                        "id": "card",
                        "brand": "visa",
                        "last_four": "1",
                    },
                    "gift": {"source": "gift_card", "id": "gift", "balance": 7},
                },
                "orders": ["#1", "#2", "#3"],
            }
        },
        "orders": {
            "#1": order("#1", "pending"),
            "#2": order("#2", "delivered"),
            "#3": order("#3", "pending", "gift"),
        },
    }
    return RETAIL.open(RETAIL.parse(json.dumps(tables).encode(), "db.json"))


def address_of(order_id: str) -> dict[str, Any]:
    return {**ADDRESS, "order_id": order_id}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("get_order_details", {"order_id": "#9"}, "Order not found"),
    ("get_user_details", {"user_id": "x"}, "User not found"),
    ("get_product_details", {"product_id": "x"}, "Product not found"),
    ("get_item_details", {"item_id": "x"}, "Item not found"),
    ("cancel_pending_order", {"order_id": "#2", "reason": "no longer needed"}, "Non-pending"),
    ("cancel_pending_order", {"order_id": "#1", "reason": "bored"}, "Invalid reason"),
    ("modify_pending_order_address", address_of("#2"), "Non-pending"),
    (
        "modify_pending_order_payment",
        {"order_id": "#1", "payment_method_id": "card"},
        "should be different",
    ),
    ("modify_pending_order_payment", {"order_id": "#1", "payment_method_id": "gift"}, "balance"),
    (
        "modify_pending_order_items",
        {
            "order_id": "#1",
            "item_ids": ["a"],
            "new_item_ids": ["out"],
            "payment_method_id": "card",
        },
        "not found or available",
    ),
    (
        "modify_pending_order_items",
        {"order_id": "#1", "item_ids": ["a"], "new_item_ids": ["a"], "payment_method_id": "card"},
        "should be different",
    ),
    (
        "exchange_delivered_order_items",
        {"order_id": "#2", "item_ids": ["a"], "new_item_ids": ["d"], "payment_method_id": "gift"},
        "Insufficient gift card",
    ),
    (
        "exchange_delivered_order_items",
        {
            "order_id": "#2",
            "item_ids": ["a", "a"],
            "new_item_ids": ["c", "c"],
            "payment_method_id": "card",
        },
        "Number of a not found",
    ),
    (
        "return_delivered_order_items",
        {"order_id": "#1", "item_ids": ["a"], "payment_method_id": "card"},
        "Non-delivered",
    ),
    ("calculate", {"expression": "9**9**9"}, "can't be evaluated"),
    ("calculate", {"expression": "__import__('os')"}, "Invalid characters"),
    ("calculate", {"expression": "1/0"}, "can't be evaluated"),
    ("calculate", {"expression": "(" * 900}, "can't be evaluated"),
    ("calculate", {"expression": "1" * 1_000_000}, "too long"),
    ("get_order_details", {}, "needs the argument 'order_id'"),
    ("get_order_details", {"order_id": 7}, "to be a string"),
    ("get_order_details", {"order_id": "#1", "x": 1}, "has no argument 'x'"),
    ("nonsense", {}, "Tool 'nonsense' not found"),
]


@pytest.mark.parametrize(("name", "arguments", "reason"), REFUSED)
def test_refused_calls_change_nothing(
    world: Environment, name: str, arguments: dict[str, Any], reason: str
) -> None:
    result = world.call(name, arguments)
    assert result.error
    assert reason in result.content
    assert world.changes() == []


def test_canceling_refunds_the_gift_card(world: Environment) -> None:
    assert not world.call(
        "cancel_pending_order", {"order_id": "#3", "reason": "ordered by mistake"}
    ).error
    changes = {change["path"]: change["value"] for change in world.changes()}
    assert changes["/users/u/payment_methods/gift/balance"] == 37.0
    assert changes["/orders/#3/status"] == "cancelled"


def test_modified_items_all_become_the_last_variant(world: Environment) -> None:
    arguments = {
        "order_id": "#1",
        "item_ids": ["a", "b"],
        "new_item_ids": ["c", "d"],
        "payment_method_id": "card",
    }
    result = json.loads(world.call("modify_pending_order_items", arguments).content)
    assert [item["price"] for item in result["items"]] == [27.5, 27.5]
    assert result["payment_history"][-1]["amount"] == 12.5


def test_an_edited_record_is_read_back_and_others_stay_shared(world: Environment) -> None:
    fresh = RETAIL.open(world.database)
    world.call("modify_user_address", {**ADDRESS, "user_id": "u", "zip": "77"})
    assert (
        json.loads(world.call("get_user_details", {"user_id": "u"}).content)["address"]["zip"]
        == "77"
    )
    found = {"first_name": "ANN", "last_name": "lee", "zip": "77"}
    assert world.call("find_user_id_by_name_zip", found).content == "u"
    assert fresh.call("find_user_id_by_name_zip", found).error
    assert fresh.call("find_user_id_by_email", {"email": "ANN@X"}).content == "u"


def test_calculate_follows_pythons_precedence(world: Environment) -> None:
    assert world.call("calculate", {"expression": "(1.005 + 2) * -3 // 1"}).content == "-10.0"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "isn't valid JSON"),
        (b"\xff", "isn't valid JSON"),
        (b"[]", "object of tables"),
        (b'{"users":{},"orders":{}}', "no table 'products'"),
        (b'{"users":{},"orders":{},"products":{},"x":{}}', "unknown table 'x'"),
        (b'{"users":{},"orders":{"#1":{}},"products":{}}', "wrong at orders.#1.order_id: Field"),
        (b'{"users":{},"orders":{"#1":3},"products":{}}', "wrong at orders.#1: Input should be"),
        (
            b'{"users":{},"orders":{},"products":{"p":{"name":["x"],"product_id":"p",'
            b'"variants":{}}}}',
            "wrong at products.p.name: Input should be a valid string",
        ),
    ],
)
def test_broken_databases_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DatabaseError, match=reason):
        RETAIL.parse(data, "db.json")
