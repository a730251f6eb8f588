"""A retail world of our own: users, products with variants, orders in every state. Pure, seeded."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

from sea_env.domains import people
from sea_env.domains.people import Numbers
from sea_env.domains.retail.catalog import CATALOG, Options
from sea_env.domains.retail.orders import REASONS, payment
from sea_env.domains.worlds import Size, World, generator, shipped

_USERS = {Size.SMALL: 20, Size.MEDIUM: 500, Size.LARGE: 5000}
_PRODUCTS = {Size.SMALL: 12, Size.MEDIUM: len(CATALOG), Size.LARGE: len(CATALOG)}
_ORDERS_PER_USER = 2
_MOST_VARIANTS = 12
_STATUSES = {"pending": 42, "delivered": 38, "processed": 10, "cancelled": 10}
"""Status and its share in percent."""

Table = dict[str, dict[str, Any]]


def make(size: Size, seed: int) -> World:
    """20, 500 or 5000 users with twice as many orders."""
    rng = generator("retail", size, seed)
    numbers = Numbers(rng)
    products = dict(_product(*entry, numbers, rng) for entry in CATALOG[: _PRODUCTS[size]])
    users = dict(_user(numbers, rng) for _ in range(_USERS[size]))
    owners = list(users.values())
    shelf = list(products.values())
    orders: Table = {}
    for _ in range(_ORDERS_PER_USER * len(users)):
        order = _order(rng.choice(owners), shelf, numbers, rng)
        orders[order["order_id"]] = order
        users[order["user_id"]]["orders"].append(order["order_id"])
    tables = {"products": products, "users": users, "orders": orders}
    return World(tables, {}, shipped("sea_env.domains.retail", "policy.md"))


def _product(
    name: str, price: int, options: Options, numbers: Numbers, rng: random.Random
) -> tuple[str, dict[str, Any]]:
    choices = [
        dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())
    ]
    chosen = rng.sample(choices, min(len(choices), _MOST_VARIANTS))
    variants = [_variant(numbers.draw(10), one, price, rng) for one in chosen]
    # Every product can be bought in at least two ways, so every order has something to change to.
    for variant in variants[:2]:
        variant["available"] = True
    product_id = numbers.draw(10)
    by_id = {variant["item_id"]: variant for variant in variants}
    return product_id, {"name": name, "product_id": product_id, "variants": by_id}


def _variant(
    item_id: str, options: dict[str, str], price: int, rng: random.Random
) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "options": options,
        "available": rng.random() < 0.7,
        "price": round(price * rng.uniform(0.85, 1.3), 2),
    }


def _user(numbers: Numbers, rng: random.Random) -> tuple[str, dict[str, Any]]:
    name = people.name(rng)
    methods = rng.sample(
        [people.credit_card(numbers, rng), _gift_card(numbers, rng), _paypal(numbers)],
        rng.randint(1, 3),
    )
    user_id = people.user_id(name, numbers)
    return user_id, {
        "user_id": user_id,
        "name": name,
        "address": people.address(rng),
        "email": people.email(name, numbers, rng),
        "payment_methods": {method["id"]: method for method in methods},
        "orders": [],
    }


def _gift_card(numbers: Numbers, rng: random.Random) -> dict[str, Any]:
    balance = float(rng.randrange(5, 400))
    return {"source": "gift_card", "id": f"gift_card_{numbers.draw(7)}", "balance": balance}


def _paypal(numbers: Numbers) -> dict[str, Any]:
    return {"source": "paypal", "id": f"paypal_{numbers.draw(7)}"}


def _order(
    user: dict[str, Any], shelf: Sequence[dict[str, Any]], numbers: Numbers, rng: random.Random
) -> dict[str, Any]:
    items = [_item(product, rng) for product in rng.sample(shelf, rng.randint(1, 5))]
    method = rng.choice(list(user["payment_methods"]))
    total = round(sum(item["price"] for item in items), 2)
    status = rng.choices(list(_STATUSES), list(_STATUSES.values()))[0]
    history = [payment("payment", total, method)]
    order = {
        "order_id": f"#W{numbers.draw(7)}",
        "user_id": user["user_id"],
        "address": dict(user["address"]) if rng.random() < 0.8 else people.address(rng),
        "items": items,
        "status": status,
        "fulfillments": [],
        "payment_history": history,
    }
    if status in {"delivered", "processed"}:
        tracked = {"tracking_id": [numbers.draw(12)], "item_ids": [i["item_id"] for i in items]}
        order["fulfillments"] = [tracked]
    if status == "cancelled":
        history.append(payment("refund", total, method))
        order["cancel_reason"] = rng.choice(sorted(REASONS))
    return order


def _item(product: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    variant = rng.choice(list(product["variants"].values()))
    return {
        "name": product["name"],
        "product_id": product["product_id"],
        "item_id": variant["item_id"],
        "price": variant["price"],
        "options": dict(variant["options"]),
    }
