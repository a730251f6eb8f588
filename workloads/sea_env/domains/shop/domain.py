"""The shop as a `Domain`: prompt, tools, database reader."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sea_env.domains.base import Tool
from sea_env.domains.database import Database, parse_tables, require_tables
from sea_env.domains.environment import Toolbox, ToolEnvironment
from sea_env.domains.overlay import Tables
from sea_env.domains.reading import validated, validated_part
from sea_env.domains.shop.layout import ShopTables
from sea_env.domains.shop.tools import TOOLS

SYSTEM_PROMPT = (
    "Shop desk: identify the customer with find_user(email), read get_order(order). "
    "Only if pending cancel_order(order) or change_address(order,address), "
    "only if delivered refund(order,amount) of the full total, otherwise transfer(). "
    "Asked for the total, say it. Close with Goodbye."
)

CLOSING = "Goodbye"
"""What the agent says when it is done; the verifier asks for it."""


def _records(raw: Mapping[str, Any]) -> Tables:
    return validated_part(ShopTables, raw, "with the task's initial data")


_BOX = Toolbox(
    agent={tool.name: tool for tool in TOOLS},
    user={},
    assertions={},
    records=_records,
    separators=(",", ":"),
)


class Shop:
    """Stateless; `registry.get("shop")` hands out one for all."""

    name = "shop"
    tools: Sequence[Tool] = TOOLS
    user_tools: Sequence[Tool] = ()
    assertions: Collection[str] = ()
    max_bad_turns = 0
    policy_file: str | None = None

    def system_prompt(self, policy: str | None = None) -> str:
        return policy or SYSTEM_PROMPT

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        tables = parse_tables(data, name)
        require_tables(tables, ("users", "orders", "desk"), name)
        return Database(validated(ShopTables, tables, name))

    def open(self, database: Database) -> ToolEnvironment:
        return ToolEnvironment(database, _BOX)
