"""Retail as a `Domain`: reads tau2's database layout and completes it; prompt with schemas."""

from collections.abc import Collection, Sequence
from typing import Any

from sea_workloads.domains import desk
from sea_workloads.domains.base import Tool
from sea_workloads.domains.database import Database, DatabaseError, parse_tables, require_tables
from sea_workloads.domains.environment import Toolbox, ToolEnvironment
from sea_workloads.domains.prompt import customer_service_prompt
from sea_workloads.domains.retail import fields, items, orders, reading

TOOLS = (
    desk.calculate,
    orders.cancel_pending_order,
    items.exchange_delivered_order_items,
    reading.find_user_id_by_name_zip,
    reading.find_user_id_by_email,
    reading.get_order_details,
    reading.get_product_details,
    reading.get_item_details,
    reading.get_user_details,
    reading.list_all_product_types,
    orders.modify_pending_order_address,
    items.modify_pending_order_items,
    orders.modify_pending_order_payment,
    orders.modify_user_address,
    items.return_delivered_order_items,
    desk.transfer_to_human_agents,
)

_ORDER_DEFAULTS = (
    "cancel_reason",
    "exchange_items",
    "exchange_new_items",
    "exchange_payment_method_id",
    "exchange_price_difference",
    "return_items",
    "return_payment_method_id",
)

_BOX = Toolbox(agent={tool.name: tool for tool in TOOLS}, user={}, assertions={})


class Retail:
    """Stateless; one serves all episodes."""

    name = "retail"
    tools: Sequence[Tool] = TOOLS
    user_tools: Sequence[Tool] = ()
    assertions: Collection[str] = ()
    max_bad_turns = 3
    policy_file: str | None = "retail_policy.md"

    def system_prompt(self, policy: str | None = None) -> str:
        return customer_service_prompt(policy or "", self.tools)

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        tables = parse_tables(data, name)
        require_tables(tables, ("products", "users", "orders"), name)
        try:
            fields.leave_out_unknown(tables, name)
            _complete(tables)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatabaseError(
                f"The database {name} has a record that isn't laid out like retail's: {error!r}."
            ) from error
        return Database(tables)

    def open(self, database: Database) -> ToolEnvironment:
        return ToolEnvironment(database, _BOX)


def _complete(tables: dict[str, Any]) -> None:
    """What tau2's models add on loading: absent fields as null, amounts as floats."""
    for order in tables["orders"].values():
        for field in _ORDER_DEFAULTS:
            order.setdefault(field, None)
        for item in order["items"]:
            item["price"] = float(item["price"])
        for entry in order["payment_history"]:
            entry["amount"] = float(entry["amount"])
    for user in tables["users"].values():
        for method in user["payment_methods"].values():
            if "balance" in method:
                method["balance"] = float(method["balance"])
    for product in tables["products"].values():
        for variant in product["variants"].values():
            variant["price"] = float(variant["price"])
