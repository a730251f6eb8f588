"""Generates shop databases, scripts that fit them, and their expected actions. Pure, seeded."""

import random
from collections.abc import Mapping
from typing import Any

from sea_env.domains.database_generator import GeneratedDatabase, Size, seeded_random
from sea_env.domains.shop import entities
from sea_env.domains.shop.domain import SYSTEM_PROMPT
from sea_env.domains.shop.entities import Split
from sea_env.domains.shop.scenario import Intent, Opening, Script
from sea_env.domains.shop.tools import DESK

ALLOWED = {
    Intent.CANCEL: "pending",
    Intent.ADDRESS: "pending",
    Intent.REFUND: "delivered",
}
"""The status in which the policy allows an intent; any status allows asking for the total."""

_ALLOWED_SHARE = 0.5
_ORDERS = {Size.SMALL: 20, Size.MEDIUM: 100, Size.LARGE: None}


def generate_database(size: Size, seed: int) -> GeneratedDatabase:
    """20, 100 or all 260 orders whose id is a letter and a digit."""
    rng = seeded_random("shop", size, seed)
    return GeneratedDatabase(tables(Split.ALL, rng, _ORDERS[size]), {}, SYSTEM_PROMPT)


def tables(split: Split, rng: random.Random, most: int | None = None) -> dict[str, Any]:
    """A database with the order ids of the split; owners and contents are drawn at random.

    `most` limits the number of orders to that many, also drawn.
    """
    emails = entities.emails(split)
    addresses = entities.addresses()
    names = entities.orders(split)
    if most is not None:
        names = sorted(rng.sample(names, most))
    orders = {order: _order(order, emails, addresses, rng) for order in names}
    users = {
        email: {"email": email, "name": email.split("@")[0][:-1]}
        for email in sorted({order["email"] for order in orders.values()})
    }
    return {"users": users, "orders": orders, "desk": {DESK: {"transferred": False}}}


def _order(
    order: str, emails: list[str], addresses: list[str], rng: random.Random
) -> dict[str, Any]:
    return {
        "order": order,
        "email": rng.choice(emails),
        "status": rng.choice(entities.STATUSES),
        "total": rng.randint(10, 99),
        "address": rng.choice(addresses),
        "refunded": 0,
    }


def draw_script(database: Mapping[str, Any], rng: random.Random) -> Script:
    """A customer of this database; the policy allows half of the requests that it could refuse."""
    intent = rng.choice(list(Intent))
    status = rng.choice(entities.STATUSES)
    if intent in ALLOWED:
        granted = rng.random() < _ALLOWED_SHARE
        refused = [s for s in entities.STATUSES if s != ALLOWED[intent]]
        status = ALLOWED[intent] if granted else rng.choice(refused)
    fitting = [o for o in database["orders"].values() if o["status"] == status]
    order = rng.choice(fitting or list(database["orders"].values()))
    others = [a for a in entities.addresses() if a != order["address"]]
    address = rng.choice(others) if intent is Intent.ADDRESS else ""
    return Script(intent, order["order"], order["email"], address, rng.choice(list(Opening)))


def expected(script: Script, database: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """(expected actions, information to communicate) of a script, by the policy."""
    order = database["orders"][script.order]
    actions = [
        _action("find_user", email=script.email),
        _action("get_order", order=script.order),
    ]
    if script.intent is Intent.TOTAL:
        return actions, [str(order["total"])]
    if order["status"] != ALLOWED[script.intent]:
        return [*actions, _action("transfer")], []
    change = {
        Intent.CANCEL: lambda: _action("cancel_order", order=script.order),
        Intent.REFUND: lambda: _action("refund", order=script.order, amount=order["total"]),
        Intent.ADDRESS: lambda: _action(
            "change_address", order=script.order, address=script.address
        ),
    }
    return [*actions, change[script.intent]()], []


def _action(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}
