"""Seeded generation of shop databases and of scripts that fit them. Pure."""

import random
from collections.abc import Mapping
from typing import Any

from sea_env.domains.shop import entities
from sea_env.domains.shop.domain import SYSTEM_PROMPT
from sea_env.domains.shop.entities import Split
from sea_env.domains.shop.scenario import Intent, Opening, Script
from sea_env.domains.shop.tools import DESK
from sea_env.domains.worlds import Size, World, generator

ALLOWED = {
    Intent.CANCEL: "pending",
    Intent.ADDRESS: "pending",
    Intent.REFUND: "delivered",
}
"""The status in which the policy lets an intent pass; any status will do for the total."""

_ALLOWED_SHARE = 0.5
_ORDERS = {Size.SMALL: 20, Size.MEDIUM: 100, Size.LARGE: None}


def make(size: Size, seed: int) -> World:
    """20, 100 or all 260 orders that a letter and a digit can name."""
    rng = generator("shop", size, seed)
    return World(tables(Split.ALL, rng, _ORDERS[size]), {}, SYSTEM_PROMPT)


def tables(split: Split, rng: random.Random, most: int | None = None) -> dict[str, Any]:
    """A database with the order ids of the split, owners and contents drawn at random.

    `most` leaves only that many orders, drawn too; None takes all.
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


def script(world: Mapping[str, Any], rng: random.Random) -> Script:
    """A customer of this world: half of the wishes that can be refused are granted ones."""
    intent = rng.choice(list(Intent))
    status = rng.choice(entities.STATUSES)
    if intent in ALLOWED:
        granted = rng.random() < _ALLOWED_SHARE
        refused = [s for s in entities.STATUSES if s != ALLOWED[intent]]
        status = ALLOWED[intent] if granted else rng.choice(refused)
    fitting = [o for o in world["orders"].values() if o["status"] == status]
    order = rng.choice(fitting or list(world["orders"].values()))
    others = [a for a in entities.addresses() if a != order["address"]]
    address = rng.choice(others) if intent is Intent.ADDRESS else ""
    return Script(intent, order["order"], order["email"], address, rng.choice(list(Opening)))


def expected(wish: Script, world: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """(expected actions, information to communicate) of a script, by the policy."""
    order = world["orders"][wish.order]
    actions = [
        _action("find_user", email=wish.email),
        _action("get_order", order=wish.order),
    ]
    if wish.intent is Intent.TOTAL:
        return actions, [str(order["total"])]
    if order["status"] != ALLOWED[wish.intent]:
        return [*actions, _action("transfer")], []
    change = {
        Intent.CANCEL: lambda: _action("cancel_order", order=wish.order),
        Intent.REFUND: lambda: _action("refund", order=wish.order, amount=order["total"]),
        Intent.ADDRESS: lambda: _action("change_address", order=wish.order, address=wish.address),
    }
    return [*actions, change[wish.intent]()], []


def _action(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}
