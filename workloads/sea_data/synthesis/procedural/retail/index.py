"""A retail database as a worker looks at it: whose orders are where, what can replace what."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

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
        """Orders of known customers, paid once; others are beyond a plain errand."""
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
        """Whether name and zip code lead to this customer only."""
        user = self.users[user_id]
        name = (user["name"]["first_name"], user["name"]["last_name"], user["address"]["zip"])
        return name not in self._ambiguous

    def orders_of(self, user_id: str) -> list[Record]:
        known = self.users[user_id]["orders"]
        return [self.orders[key] for key in known if key in self.orders]

    def telling_item(self, order: Record) -> str | None:
        """Name of an item that only this one of its customer's orders holds, or None."""
        others = {
            item["name"]
            for other in self.orders_of(order["user_id"])
            if other["order_id"] != order["order_id"]
            for item in other["items"]
        }
        return next((i["name"] for i in order["items"] if i["name"] not in others), None)

    def replacements(self, item: Record) -> list[Record]:
        """Available variants of the same product that options alone tell apart from all others."""
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
    """A payment method in words, after "my" or "your"."""
    if method["source"] == "credit_card":
        return f"{method['brand']} credit card ending in {method['last_four']}"
    return "gift card" if method["source"] == "gift_card" else "PayPal account"


def distinct_methods(user: Record) -> list[Record]:
    """Payment methods that words alone tell apart."""
    methods: Sequence[Record] = list(user["payment_methods"].values())
    seen = Counter(method_text(method) for method in methods)
    return [method for method in methods if seen[method_text(method)] == 1]


def money(amount: float) -> str:
    return f"{amount:.2f}"


def is_telling(amount: float) -> bool:
    """Whether an amount is written in one way only (5.50 is also 5.5)."""
    return amount > 1 and not money(amount).endswith("0")
