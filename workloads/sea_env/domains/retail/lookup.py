"""Finding records of the retail database, and tau2's words for not finding them."""

from sea_env.domains.base import ToolError
from sea_env.domains.environment import State
from sea_env.domains.overlay import Record

GIFT_CARD = "gift_card"


def order(state: State, order_id: str) -> Record:
    return state.record("orders", order_id, "Order not found")


def user(state: State, user_id: str) -> Record:
    return state.record("users", user_id, "User not found")


def product(state: State, product_id: str) -> Record:
    return state.record("products", product_id, "Product not found")


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
    """Changes the balance if the method is a gift card; other methods have none."""
    if payment_method(state, user_id, payment_method_id)["source"] == GIFT_CARD:
        card = state.agent.edit("users", user_id)["payment_methods"][payment_method_id]
        card["balance"] = round(card["balance"] + amount, 2)


def users_by_email(state: State) -> dict[str, str]:
    """User ids by lower-case email; no tool changes an email."""
    return state.indexed(
        "emails",
        lambda: {
            str(u["email"]).lower(): key for key, u in reversed(list(state.agent.items("users")))
        },
    )


def users_by_name(state: State) -> dict[tuple[str, str], list[str]]:
    """User ids by lower-case (first, last) name; no tool changes a name."""

    def build() -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for key, u in state.agent.items("users"):
            name = (u["name"]["first_name"].lower(), u["name"]["last_name"].lower())
            found.setdefault(name, []).append(key)
        return found

    return state.indexed("names", build)


def variants_by_item(state: State) -> dict[str, Record]:
    """Variants by item id; no tool changes a product."""
    return state.indexed(
        "items",
        lambda: {
            item: found
            for _, p in reversed(list(state.agent.items("products")))
            for item, found in p["variants"].items()
        },
    )
