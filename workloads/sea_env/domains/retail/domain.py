"""Retail as a `Domain`: reads tau2's database layout and completes it; prompt with schemas."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sea_env.domains import desk, fields
from sea_env.domains.base import Tool
from sea_env.domains.database import Database, parse_tables, require_tables
from sea_env.domains.environment import Toolbox, ToolEnvironment
from sea_env.domains.overlay import Tables
from sea_env.domains.prompt import customer_service_prompt
from sea_env.domains.reading import validated, validated_part
from sea_env.domains.retail import items, orders, reading
from sea_env.domains.retail.layout import RetailTables

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


def _records(raw: Mapping[str, Any]) -> Tables:
    name = "with the task's initial data"
    read = validated_part(RetailTables, raw, name)
    fields.tell_left_out(Retail.name, raw, read, name)
    return read


_BOX = Toolbox(agent={tool.name: tool for tool in TOOLS}, user={}, assertions={}, records=_records)


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
        read = validated(RetailTables, tables, name)
        fields.tell_left_out(self.name, tables, read, name)
        return Database(read)

    def open(self, database: Database) -> ToolEnvironment:
        return ToolEnvironment(database, _BOX)
