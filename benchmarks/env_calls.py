"""What `benchmarks/env.py` calls: for each domain, a customer's reads and writes.

One entry per customer: the calls of an agent that looks up this customer and changes the customer's
records. All calls of an entry succeed on a fresh episode, writes in their order.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sea_env.domains.database import Database

Call = tuple[str, dict[str, Any], str]
"""Tool, arguments, requestor."""


@dataclass(frozen=True)
class Customer:
    reads: list[Call]
    writes: list[Call]


def _agent(name: str, **arguments: Any) -> Call:
    return name, arguments, "assistant"


def _user(name: str, **arguments: Any) -> Call:
    return name, arguments, "user"


def retail(database: Database) -> Iterator[Customer]:
    tables: Any = database.agent
    for user_id, user in tables["users"].items():
        orders = [tables["orders"][order_id] for order_id in user["orders"]]
        if not orders:
            continue
        reads = [
            _agent("find_user_id_by_email", email=user["email"]),
            _agent("find_user_id_by_name_zip", **user["name"], zip=user["address"]["zip"]),
            _agent("get_user_details", user_id=user_id),
            _agent("list_all_product_types"),
        ]
        for order in orders:
            reads.append(_agent("get_order_details", order_id=order["order_id"]))
            for item in order["items"]:
                reads.append(_agent("get_product_details", product_id=item["product_id"]))
                if item["item_id"] in tables["products"][item["product_id"]]["variants"]:
                    reads.append(_agent("get_item_details", item_id=item["item_id"]))
        yield Customer(reads, [*_retail_writes(user_id, user["address"], orders)])


def _retail_writes(
    user_id: str, address: Mapping[str, str], orders: list[Mapping[str, Any]]
) -> Iterator[Call]:
    yield _agent("modify_user_address", user_id=user_id, **{**address, "address1": "1 New Road"})
    for order in orders:
        order_id, paid = order["order_id"], order["payment_history"][0]["payment_method_id"]
        if order["status"] == "pending":
            yield _agent("modify_pending_order_address", order_id=order_id, **address)
            yield _agent("cancel_pending_order", order_id=order_id, reason="no longer needed")
        if order["status"] == "delivered":
            items = [order["items"][0]["item_id"]]
            yield _agent(
                "return_delivered_order_items",
                order_id=order_id,
                item_ids=items,
                payment_method_id=paid,
            )


def airline(database: Database) -> Iterator[Customer]:
    tables: Any = database.agent
    for user_id, user in tables["users"].items():
        reservations = [tables["reservations"][one] for one in user["reservations"]]
        if not reservations:
            continue
        reads = [_agent("get_user_details", user_id=user_id), _agent("list_all_airports")]
        writes = [_agent("send_certificate", user_id=user_id, amount=100)]
        for one in reservations:
            identity = one["reservation_id"]
            reads.append(_agent("get_reservation_details", reservation_id=identity))
            for flight in one["flights"]:
                when = {"flight_number": flight["flight_number"], "date": flight["date"]}
                way = {key: flight[key] for key in ("origin", "destination", "date")}
                reads.append(_agent("get_flight_status", **when))
                reads.append(_agent("search_direct_flight", **way))
                reads.append(_agent("search_onestop_flight", **way))
            people = [dict(person) for person in one["passengers"][::-1]]
            writes += [
                _agent("update_reservation_passengers", reservation_id=identity, passengers=people),
                _agent("cancel_reservation", reservation_id=identity),
            ]
        yield Customer(reads, writes)


def telecom(database: Database) -> Iterator[Customer]:
    tables: Any = database.agent
    for customer_id, customer in tables["customers"].items():
        reads = [
            _agent("get_customer_by_id", customer_id=customer_id),
            _agent("get_customer_by_phone", phone_number=customer["phone_number"]),
            _agent("get_bills_for_customer", customer_id=customer_id),
            *(_agent("get_details_by_id", id=line_id) for line_id in customer["line_ids"]),
            _user("check_status_bar"),
            _user("check_network_status"),
            _user("check_sim_status"),
            _user("check_apn_settings"),
        ]
        writes = [
            _user("toggle_airplane_mode"),
            _user("toggle_data"),
            _user("toggle_roaming"),
            _user("reseat_sim_card"),
        ]
        yield Customer(reads, writes)


CUSTOMERS: dict[str, Callable[[Database], Iterator[Customer]]] = {
    "retail": retail,
    "airline": airline,
    "telecom": telecom,
}
