"""Retail as a `Domain`."""

from sea_env.domains import common_tools
from sea_env.domains.retail import items, lookup, orders
from sea_env.domains.retail.records import RetailTables
from sea_env.domains.tool_domain import ToolDomain


class Retail(ToolDomain):
    """16 tools of the agent in tau2-bench's order, no user tools, three tables."""

    name = "retail"
    policy_file = "retail_policy.md"
    agent_model = RetailTables
    tools = (
        common_tools.calculate,
        orders.cancel_pending_order,
        items.exchange_delivered_order_items,
        lookup.find_user_id_by_name_zip,
        lookup.find_user_id_by_email,
        lookup.get_order_details,
        lookup.get_product_details,
        lookup.get_item_details,
        lookup.get_user_details,
        lookup.list_all_product_types,
        orders.modify_pending_order_address,
        items.modify_pending_order_items,
        orders.modify_pending_order_payment,
        orders.modify_user_address,
        items.return_delivered_order_items,
        common_tools.transfer_to_human_agents,
    )
