"""The shop as a `Domain`."""

from dataclasses import replace

from sea_env.domains.environment import Toolbox
from sea_env.domains.shop.records import ShopTables
from sea_env.domains.shop.tools import TOOLS
from sea_env.domains.tool_domain import ToolDomain

SYSTEM_PROMPT = (
    "Shop desk: identify the customer with find_user(email), read get_order(order). "
    "Only if pending cancel_order(order) or change_address(order,address), "
    "only if delivered refund(order,amount) of the full total, otherwise transfer(). "
    "Asked for the total, say it. Close with Goodbye."
)

CLOSING = "Goodbye"
"""What the agent says at the end; the verifier requires it."""


class Shop(ToolDomain):
    """Six tools of the agent, no user tools, a prompt of its own for very small models."""

    name = "shop"
    max_bad_turns = 0
    agent_model = ShopTables
    tools = TOOLS

    def system_prompt(self, policy: str | None = None) -> str:
        """The policy, which names the tools; schemas would fill a very small model's context."""
        return policy or SYSTEM_PROMPT

    def _make_toolbox(self) -> Toolbox:
        return replace(super()._make_toolbox(), separators=(",", ":"))
