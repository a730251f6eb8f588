"""A retail call: the customer, its orders, and what the agent has looked up so far.

`RetailIndex` says which orders are in which state and which items can replace which.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sea_data.synthesis.candidate import DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural.goals import Goal
from sea_data.synthesis.procedural.phrasing import Phrasing
from sea_env.domains.database import Database

Record = Mapping[str, Any]
PENDING, PROCESSED, DELIVERED = "pending", "processed", "delivered"


class RetailIndex:
    """Read-only; built once per database."""

    def __init__(self, database: Database) -> None:
        self.users = database.agent["users"]
        self.orders = database.agent["orders"]
        self.products = database.agent["products"]
        self.by_status: dict[str, list[str]] = {}
        for key, order in self.orders.items():
            if self._is_sound(order):
                self.by_status.setdefault(order["status"], []).append(key)
        names = Counter(
            (u["name"]["first_name"], u["name"]["last_name"], u["address"]["zip"])
            for u in self.users.values()
        )
        self._ambiguous = {name for name, count in names.items() if count > 1}
        self.user_ids = [key for key in self.users if self.has_unique_name(key)]

    def _is_sound(self, order: Record) -> bool:
        """True if the customer is known and paid once; other orders fit no goal."""
        user = self.users.get(order["user_id"])
        paid = order["payment_history"]
        return (
            user is not None
            and order["order_id"] in user["orders"]
            and len(paid) == 1
            and paid[0]["payment_method_id"] in user["payment_methods"]
            and all(item["product_id"] in self.products for item in order["items"])
        )

    def has_unique_name(self, user_id: str) -> bool:
        """True if name and zip code identify this customer."""
        user = self.users[user_id]
        name = (user["name"]["first_name"], user["name"]["last_name"], user["address"]["zip"])
        return name not in self._ambiguous

    def orders_of(self, user_id: str) -> list[Record]:
        known = self.users[user_id]["orders"]
        return [self.orders[key] for key in known if key in self.orders]

    def identifying_item(self, order: Record) -> str | None:
        """Name of an item that no other order of the customer has, or None."""
        others = {
            item["name"]
            for other in self.orders_of(order["user_id"])
            if other["order_id"] != order["order_id"]
            for item in other["items"]
        }
        return next((i["name"] for i in order["items"] if i["name"] not in others), None)

    def replacements(self, item: Record) -> list[Record]:
        """Available variants of the same product that their options identify."""
        variants = list(self.products[item["product_id"]]["variants"].values())
        seen = Counter(options_text(v["options"]) for v in variants)
        return [
            variant
            for variant in variants
            if variant["available"]
            and variant["item_id"] != item["item_id"]
            and seen[options_text(variant["options"])] == 1
        ]


def options_text(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())


def method_text(method: Record) -> str:
    """A payment method in words, to follow "my" or "your"."""
    if method["source"] == "credit_card":
        return f"{method['brand']} credit card ending in {method['last_four']}"
    return "gift card" if method["source"] == "gift_card" else "PayPal account"


def distinct_methods(user: Record) -> list[Record]:
    """Payment methods that their words identify."""
    methods: Sequence[Record] = list(user["payment_methods"].values())
    seen = Counter(method_text(method) for method in methods)
    return [method for method in methods if seen[method_text(method)] == 1]


def money(amount: float) -> str:
    return f"{amount:.2f}"


def is_unambiguous(amount: float) -> bool:
    """True if an amount can be written in only one way (5.50 is also 5.5)."""
    return amount > 1 and not money(amount).endswith("0")


@dataclass
class CustomerCall:
    """One call of one customer."""

    index: RetailIndex
    user: Record
    mode: ToolMode
    phrasing: Phrasing
    taken: set[str] = field(default_factory=set)
    """Orders that a goal of this call is about; no two goals share one."""
    profile_read: bool = False
    orders_read: set[str] = field(default_factory=set)

    @property
    def rng(self) -> random.Random:
        return self.phrasing.rng

    def take(self, *statuses: str) -> Record:
        """A random order in one of the states that no goal has; raises NoCandidateError."""
        fitting = [
            order
            for order in self.index.orders_of(self.user["user_id"])
            if order["status"] in statuses
            and order["order_id"] not in self.taken
            and order["order_id"] in self.index.by_status.get(order["status"], ())
            and (self.mode is ToolMode.GIVEN or self.index.identifying_item(order))
        ]
        if not fitting:
            raise NoCandidateError(
                f"no customer with what the plan wants has another {' or '.join(statuses)} order"
            )
        order = self.rng.choice(fitting)
        self.taken.add(order["order_id"])
        return order

    def name(self, order: Record) -> str:
        """The order in the customer's words: by its id, or by an item."""
        if self.mode is ToolMode.GIVEN:
            return f"order {order['order_id']}"
        return f"{{my}} order with the {self.index.identifying_item(order)}"

    def read_profile(self, dialogue: DialogueBuilder) -> None:
        if not self.profile_read:
            dialogue.call("get_user_details", user_id=self.user["user_id"])
            self.profile_read = True

    def find(self, dialogue: DialogueBuilder, order: Record) -> None:
        """The agent looks the order up; without an id, it goes through the customer's orders."""
        wanted = [order["order_id"]]
        if self.mode is ToolMode.SEARCH:
            self.read_profile(dialogue)
            known = list(self.user["orders"])
            wanted = known[: known.index(order["order_id"]) + 1]
        for order_id in wanted:
            if order_id not in self.orders_read:
                self.orders_read.add(order_id)
                dialogue.call("get_order_details", order_id=order_id)


MakeGoal = Callable[[CustomerCall], Goal]
