"""Generates retail databases: users, products with variants, orders of every status. Seeded."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

from sea_env.domains import fake_people
from sea_env.domains.database_generator import (
    GeneratedDatabase,
    Size,
    packaged_text,
    seeded_random,
)
from sea_env.domains.fake_people import Numbers
from sea_env.domains.retail.orders import REASONS, payment

Options = dict[str, tuple[str, ...]]

_COLOURS = ("slate", "moss", "ochre", "ivory", "navy")
_SIZES = ("S", "M", "L", "XL")
_WOODS = ("oak", "walnut", "ash")
_METALS = ("steel", "brass", "copper")
_VOLUMES = ("0.5 l", "1 l", "1.5 l")

_CATALOG: tuple[tuple[str, int, Options], ...] = (
    ("Field Lantern", 42, {"finish": _METALS, "power": ("battery", "solar", "USB")}),
    ("Rain Cape", 78, {"colour": _COLOURS, "size": _SIZES}),
    ("Bread Knife", 36, {"handle": _WOODS, "length": ("20 cm", "24 cm")}),
    ("Reading Chair", 340, {"fabric": ("linen", "wool", "velvet"), "colour": _COLOURS}),
    ("Bicycle Bell", 18, {"finish": _METALS, "tone": ("high", "low")}),
    ("Travel Kettle", 49, {"volume": _VOLUMES, "colour": _COLOURS}),
    ("Wool Blanket", 95, {"colour": _COLOURS, "size": ("single", "double")}),
    ("Trail Shoes", 128, {"size": ("38", "40", "42", "44"), "sole": ("soft", "grip")}),
    ("Desk Organiser", 54, {"wood": _WOODS, "drawers": ("2", "4", "6")}),
    ("Pocket Radio", 65, {"band": ("FM", "FM and AM"), "colour": _COLOURS}),
    ("Garden Shears", 44, {"blade": ("straight", "curved"), "length": ("18 cm", "26 cm")}),
    ("Stove Pot", 72, {"volume": ("2 l", "4 l", "6 l"), "finish": _METALS}),
    ("Canvas Rucksack", 110, {"colour": _COLOURS, "capacity": ("18 l", "26 l", "34 l")}),
    ("Wall Mirror", 150, {"frame": _WOODS, "shape": ("round", "square", "arched")}),
    ("Chess Set", 88, {"wood": _WOODS, "board": ("folding", "fixed")}),
    ("Hand Grinder", 59, {"finish": _METALS, "burr": ("ceramic", "steel")}),
    ("Picnic Hamper", 84, {"persons": ("2", "4", "6"), "lining": ("striped", "plain")}),
    ("Night Light", 27, {"shape": ("moon", "owl", "cloud"), "light": ("warm", "dimmable")}),
    ("Drawing Board", 61, {"format": ("A4", "A3", "A2"), "wood": _WOODS}),
    ("Swim Goggles", 24, {"lens": ("clear", "tinted"), "fit": ("narrow", "wide")}),
    ("Yarn Box", 39, {"fibre": ("wool", "cotton", "alpaca"), "colour": _COLOURS}),
    ("Barometer", 132, {"finish": _METALS, "scale": ("hPa", "inHg")}),
    ("Camp Stool", 47, {"colour": _COLOURS, "height": ("30 cm", "42 cm")}),
    ("Tea Canister", 22, {"finish": _METALS, "volume": _VOLUMES}),
    ("Rowing Gloves", 33, {"size": _SIZES, "palm": ("leather", "rubber")}),
    ("Standing Lamp", 118, {"shade": ("paper", "linen"), "wood": _WOODS}),
    ("Door Mat", 29, {"size": ("40x60 cm", "60x90 cm"), "fibre": ("coir", "rubber")}),
    ("Sketch Pens", 31, {"set": ("6", "12", "24"), "tip": ("fine", "brush")}),
    ("Seed Tray", 26, {"cells": ("12", "24", "48"), "lid": ("with lid", "without lid")}),
    ("Violin Rest", 45, {"size": ("1/2", "3/4", "4/4"), "wood": _WOODS}),
    ("Ferry Clock", 97, {"finish": _METALS, "dial": ("roman", "arabic")}),
    ("Linen Apron", 41, {"colour": _COLOURS, "pockets": ("1", "3")}),
    ("Telescope", 410, {"aperture": ("70 mm", "90 mm", "114 mm"), "mount": ("tripod", "table")}),
    ("Step Ladder", 86, {"steps": ("3", "5"), "wood": _WOODS}),
    ("Honey Jar Set", 34, {"jars": ("3", "6"), "lid": ("cork", "steel")}),
    ("Map Tube", 28, {"colour": _COLOURS, "length": ("60 cm", "90 cm")}),
    ("Sauna Towel", 52, {"colour": _COLOURS, "weight": ("light", "heavy")}),
    ("Workbench", 285, {"wood": _WOODS, "vice": ("one vice", "two vices")}),
    ("Bird Feeder", 37, {"roof": ("slate", "wood"), "stand": ("hanging", "post")}),
    ("Storm Jacket", 205, {"colour": _COLOURS, "size": _SIZES}),
)
"""(name, price of the plainest variant, options and their values)."""

_USERS = {Size.SMALL: 20, Size.MEDIUM: 500, Size.LARGE: 5000}
_PRODUCTS = {Size.SMALL: 12, Size.MEDIUM: len(_CATALOG), Size.LARGE: len(_CATALOG)}
_ORDERS_PER_USER = 2
_MAX_VARIANTS = 12
_STATUSES = {"pending": 42, "delivered": 38, "processed": 10, "cancelled": 10}
"""Status and its share in percent."""

Table = dict[str, dict[str, Any]]


def generate_database(size: Size, seed: int) -> GeneratedDatabase:
    """20, 500 or 5000 users with twice as many orders."""
    rng = seeded_random("retail", size, seed)
    numbers = Numbers(rng)
    products = dict(_product(*entry, numbers, rng) for entry in _CATALOG[: _PRODUCTS[size]])
    users = dict(_user(numbers, rng) for _ in range(_USERS[size]))
    owners = list(users.values())
    shelf = list(products.values())
    orders: Table = {}
    for _ in range(_ORDERS_PER_USER * len(users)):
        order = _order(rng.choice(owners), shelf, numbers, rng)
        orders[order["order_id"]] = order
        users[order["user_id"]]["orders"].append(order["order_id"])
    tables = {"products": products, "users": users, "orders": orders}
    return GeneratedDatabase(tables, {}, packaged_text("sea_env.domains.retail", "policy.md"))


def _product(
    name: str, price: int, options: Options, numbers: Numbers, rng: random.Random
) -> tuple[str, dict[str, Any]]:
    choices = [
        dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())
    ]
    chosen = rng.sample(choices, min(len(choices), _MAX_VARIANTS))
    variants = [_variant(numbers.draw(10), one, price, rng) for one in chosen]
    # At least two variants of each product are available, so that every order can be changed.
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
    name = fake_people.name(rng)
    methods = rng.sample(
        [fake_people.credit_card(numbers, rng), _gift_card(numbers, rng), _paypal(numbers)],
        rng.randint(1, 3),
    )
    user_id = fake_people.user_id(name, numbers)
    return user_id, {
        "user_id": user_id,
        "name": name,
        "address": fake_people.address(rng),
        "email": fake_people.email(name, numbers, rng),
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
        "address": dict(user["address"]) if rng.random() < 0.8 else fake_people.address(rng),
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
