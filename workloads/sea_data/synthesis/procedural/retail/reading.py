"""Errands that change nothing: questions whose answers the verifier looks for."""

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.procedural.errand import Errand
from sea_data.synthesis.procedural.retail.errand import Call
from sea_data.synthesis.procedural.retail.index import (
    DELIVERED,
    PENDING,
    PROCESSED,
    is_telling,
    money,
)
from sea_data.synthesis.proposal import NothingFitsError


def total(call: Call) -> Errand:
    """What an order cost."""
    order = call.take(PENDING, PROCESSED, DELIVERED)
    amount = order["payment_history"][0]["amount"]
    if not is_telling(amount):
        raise NothingFitsError("no order has a total that is written in one way only")

    def settle(desk: Desk) -> str:
        call.find(desk, order)
        return f"You paid ${money(amount)} in total for order {order['order_id']}."

    wish = f"know how much {{I}} paid in total for {call.name(order)}"
    return Errand(wish, settle, (money(amount),))


def tracking(call: Call) -> Errand:
    """The tracking number of an order that has one."""
    order = call.take(PROCESSED, DELIVERED)
    found = [number for f in order["fulfillments"] for number in f["tracking_id"]]
    if len(found) != 1:
        raise NothingFitsError("no order has exactly one tracking number")

    def settle(desk: Desk) -> str:
        call.find(desk, order)
        return f"The tracking number of order {order['order_id']} is {found[0]}."

    return Errand(f"know the tracking number of {call.name(order)}", settle, (found[0],))


def cheapest(call: Call) -> Errand:
    """The lowest price at which a product is available now."""
    product = call.rng.choice(list(call.index.products.values()))
    prices = [v["price"] for v in product["variants"].values() if v["available"]]
    if not prices or not is_telling(min(prices)):
        raise NothingFitsError("no product has a price that is written in one way only")

    def settle(desk: Desk) -> str:
        desk.call("list_all_product_types")
        desk.call("get_product_details", product_id=product["product_id"])
        return f"The cheapest {product['name']} that is available costs ${money(min(prices))}."

    wish = f"know the price of the cheapest {product['name']} that is available"
    return Errand(wish, settle, (money(min(prices)),))
