"""Retail tools that only look: users, orders, products, items."""

import json

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.environment import State
from sea_env.domains.overlay import Record
from sea_env.domains.retail import lookup
from sea_env.domains.toolkit import tool


@tool(Kind.READ)
def find_user_id_by_name_zip(state: State, first_name: str, last_name: str, zip: str) -> str:  # noqa: A002 - the tool's argument is called zip
    """Find a user id by first name, last name and zip code."""
    name = (first_name.lower(), last_name.lower())
    for user_id in lookup.users_by_name(state).get(name, ()):
        if lookup.user(state, user_id)["address"]["zip"] == zip:
            return user_id
    raise ToolError("User not found")


@tool(Kind.READ)
def find_user_id_by_email(state: State, email: str) -> str:
    """Find a user id by email."""
    found = lookup.users_by_email(state).get(email.lower())
    if found is None:
        raise ToolError("User not found")
    return found


@tool(Kind.READ)
def get_order_details(state: State, order_id: str) -> str:
    """Get the status and details of an order, whose id begins with '#'."""
    lookup.order(state, order_id)
    return state.text("orders", order_id)


@tool(Kind.READ)
def get_product_details(state: State, product_id: str) -> str:
    """Get the inventory details of a product by its product id (not an item id)."""
    lookup.product(state, product_id)
    return state.text("products", product_id)


@tool(Kind.READ)
def get_item_details(state: State, item_id: str) -> Record:
    """Get the details of one item (a variant of a product) by its item id."""
    found = lookup.variants_by_item(state).get(item_id)
    if found is None:
        raise ToolError("Item not found")
    return found


@tool(Kind.READ)
def get_user_details(state: State, user_id: str) -> str:
    """Get a user's profile, including payment methods and orders."""
    lookup.user(state, user_id)
    return state.text("users", user_id)


@tool(Kind.READ)
def list_all_product_types(state: State) -> str:
    """List the names and product ids of all product types."""

    def build() -> str:
        names = {p["name"]: p["product_id"] for _, p in state.agent.items("products")}
        return json.dumps(names, sort_keys=True)

    return state.indexed("product types", build)
