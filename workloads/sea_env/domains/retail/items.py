"""Retail tools for the items of an order: modify, exchange, return."""

from collections.abc import Mapping, Sequence
from typing import Any

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.edited_record import assign, extend
from sea_env.domains.overlay import Record
from sea_env.domains.retail import lookup
from sea_env.domains.retail.orders import payment
from sea_env.domains.state import State
from sea_env.domains.toolkit import tool


def _require_items(order: Record, item_ids: Sequence[str], message: str) -> None:
    held = [item["item_id"] for item in order["items"]]
    for item_id in item_ids:
        if item_ids.count(item_id) > held.count(item_id):
            raise ToolError(message.format(item_id=item_id))


def _new_variants(
    state: State, order: Record, item_ids: Sequence[str], new_item_ids: Sequence[str]
) -> tuple[list[Record], float]:
    """The variants that replace the items, and the difference in price in USD."""
    difference = 0.0
    variants: list[Record] = []
    for item_id, new_item_id in zip(item_ids, new_item_ids, strict=True):
        item = next(item for item in order["items"] if item["item_id"] == item_id)
        variant = lookup.variant(state, item["product_id"], new_item_id)
        if not variant["available"]:
            raise ToolError(f"New item {new_item_id} not found or available")
        difference += variant["price"] - item["price"]
        variants.append(variant)
    return variants, difference


@tool(Kind.WRITE)
def exchange_delivered_order_items(
    state: State,
    order_id: str,
    item_ids: list[str],
    new_item_ids: list[str],
    payment_method_id: str,
) -> Mapping[str, Any]:
    """Exchange items of a delivered order for new items of the same product types. Can be done
    once per delivered order. Ask the user for an explicit confirmation (yes) first."""
    order = lookup.order(state, order_id)
    if order["status"] != "delivered":
        raise ToolError("Non-delivered order cannot be exchanged")
    _require_items(order, item_ids, "Number of {item_id} not found.")
    if len(item_ids) != len(new_item_ids):
        raise ToolError("The number of items to be exchanged should match.")
    difference = round(_new_variants(state, order, item_ids, new_item_ids)[1], 2)
    method = lookup.payment_method(state, order["user_id"], payment_method_id)
    if method["source"] == lookup.GIFT_CARD and method["balance"] < difference:
        raise ToolError("Insufficient gift card balance to pay for the price difference")
    edited = state.agent.edit("orders", order_id)
    assign(
        edited,
        status="exchange requested",
        exchange_items=sorted(item_ids),
        exchange_new_items=sorted(new_item_ids),
        exchange_payment_method_id=payment_method_id,
        exchange_price_difference=difference,
    )
    return edited


@tool(Kind.WRITE)
def modify_pending_order_items(
    state: State,
    order_id: str,
    item_ids: list[str],
    new_item_ids: list[str],
    payment_method_id: str,
) -> Mapping[str, Any]:
    """Change items of a pending order to new items of the same product types. Can be done once per
    pending order. Ask the user for an explicit confirmation (yes) first."""
    order = lookup.order(state, order_id)
    if order["status"] != "pending":
        raise ToolError("Non-pending order cannot be modified")
    _require_items(order, item_ids, "{item_id} not found")
    if len(item_ids) != len(new_item_ids):
        raise ToolError("The number of items to be exchanged should match")
    if any(old == new for old, new in zip(item_ids, new_item_ids, strict=True)):
        raise ToolError("The new item id should be different from the old item id")
    variants, difference = _new_variants(state, order, item_ids, new_item_ids)
    method = lookup.payment_method(state, order["user_id"], payment_method_id)
    if method["source"] == lookup.GIFT_CARD and method["balance"] < difference:
        raise ToolError("Insufficient gift card balance to pay for the new item")
    edited = state.agent.edit("orders", order_id)
    kind = "payment" if difference > 0 else "refund"
    entry = payment(kind, abs(difference), payment_method_id)
    extend(edited, "payment_history", [entry])
    lookup.add_to_gift_card(state, order["user_id"], payment_method_id, -difference)
    items = list(order["items"])
    for old, new in zip(item_ids, new_item_ids, strict=True):
        # There is one: `_require_items` has counted them. Replaced, not changed: the others stay
        # the base's own.
        place = next(index for index, item in enumerate(items) if item["item_id"] == old)
        # tau2-bench gives every changed item the price and options of the last new variant, and
        # its expected databases contain them.
        last = {key: variants[-1][key] for key in ("price", "options")}
        items[place] = {**items[place], "item_id": new, **last}
    assign(edited, items=items, status="pending (item modified)")
    return edited


@tool(Kind.WRITE)
def return_delivered_order_items(
    state: State, order_id: str, item_ids: list[str], payment_method_id: str
) -> Mapping[str, Any]:
    """Return items of a delivered order; the refund goes to the original payment method or a gift
    card. Ask the user for an explicit confirmation (yes) first."""
    order = lookup.order(state, order_id)
    if order["status"] != "delivered":
        raise ToolError("Non-delivered order cannot be returned")
    method = lookup.payment_method(state, order["user_id"], payment_method_id)
    original = order["payment_history"][0]["payment_method_id"]
    if method["source"] != lookup.GIFT_CARD and payment_method_id != original:
        raise ToolError("Payment method should be the original payment method")
    _require_items(order, item_ids, "Some item not found")
    edited = state.agent.edit("orders", order_id)
    assign(
        edited,
        status="return requested",
        return_items=sorted(item_ids),
        return_payment_method_id=payment_method_id,
    )
    return edited
