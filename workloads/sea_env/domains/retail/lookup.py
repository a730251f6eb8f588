"""Finds records of retail's database, with tau2-bench's error texts; the tools that only read."""

import json

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.overlay import Record
from sea_env.domains.state import State, finder, first_by_key, reader
from sea_env.domains.toolkit import tool

GIFT_CARD = "gift_card"

order = finder("orders", "Order not found")
user = finder("users", "User not found")
product = finder("products", "Product not found")
_order_text = reader("orders", "Order not found")
_user_text = reader("users", "User not found")
_product_text = reader("products", "Product not found")


def variant(state: State, product_id: str, item_id: str) -> Record:
    found: Record | None = product(state, product_id)["variants"].get(item_id)
    if found is None:
        raise ToolError("Variant not found")
    return found


def payment_method(state: State, user_id: str, payment_method_id: str) -> Record:
    found: Record | None = user(state, user_id)["payment_methods"].get(payment_method_id)
    if found is None:
        raise ToolError("Payment method not found")
    return found


def add_to_gift_card(state: State, user_id: str, payment_method_id: str, amount: float) -> None:
    """Adds USD to the balance (negative: subtracts) if the method is a gift card, else nothing."""
    if payment_method(state, user_id, payment_method_id)["source"] == GIFT_CARD:
        card = state.agent.edit("users", user_id)["payment_methods"][payment_method_id]
        card["balance"] = round(card["balance"] + amount, 2)


def _user_by_email(state: State) -> dict[str, str]:
    """User ids by lower-case email; no tool changes an email."""
    return state.indexed(
        "emails",
        lambda: first_by_key((str(u["email"]).lower(), k) for k, u in state.agent.items("users")),
    )


def _users_by_name(state: State) -> dict[tuple[str, str], list[str]]:
    """User ids by lower-case (first, last) name; no tool changes a name."""

    def build() -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for key, u in state.agent.items("users"):
            name = (u["name"]["first_name"].lower(), u["name"]["last_name"].lower())
            found.setdefault(name, []).append(key)
        return found

    return state.indexed("names", build)


def _variant_by_item(state: State) -> dict[str, Record]:
    """Variants by item id; no tool changes a product."""
    return state.indexed(
        "items",
        lambda: first_by_key(
            pair for _, p in state.agent.items("products") for pair in p["variants"].items()
        ),
    )


@tool(Kind.READ)
def find_user_id_by_name_zip(state: State, first_name: str, last_name: str, zip: str) -> str:  # noqa: A002 - the tool's argument is called zip
    """Find a user id by first name, last name and zip code."""
    name = (first_name.lower(), last_name.lower())
    for user_id in _users_by_name(state).get(name, ()):
        if user(state, user_id)["address"]["zip"] == zip:
            return user_id
    raise ToolError("User not found")


@tool(Kind.READ)
def find_user_id_by_email(state: State, email: str) -> str:
    """Find a user id by email."""
    found = _user_by_email(state).get(email.lower())
    if found is None:
        raise ToolError("User not found")
    return found


@tool(Kind.READ)
def get_order_details(state: State, order_id: str) -> str:
    """Get the status and details of an order, whose id begins with '#'."""
    return _order_text(state, order_id)


@tool(Kind.READ)
def get_product_details(state: State, product_id: str) -> str:
    """Get the inventory details of a product by its product id (not an item id)."""
    return _product_text(state, product_id)


@tool(Kind.READ)
def get_item_details(state: State, item_id: str) -> str:
    """Get the details of one item (a variant of a product) by its item id."""
    texts = state.shared_texts("items")
    known = texts.get(item_id)
    if known is None:
        found = _variant_by_item(state).get(item_id)
        if found is None:
            raise ToolError("Item not found")
        known = texts[item_id] = json.dumps(found)
    return known


@tool(Kind.READ)
def get_user_details(state: State, user_id: str) -> str:
    """Get a user's profile, including payment methods and orders."""
    return _user_text(state, user_id)


@tool(Kind.READ)
def list_all_product_types(state: State) -> str:
    """List the names and product ids of all product types."""

    def build() -> str:
        names = {p["name"]: p["product_id"] for _, p in state.agent.items("products")}
        return json.dumps(names, sort_keys=True)

    return state.indexed("product types", build)
