"""The agent's tools that change a line."""

from typing import Any

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.state import State
from sea_env.domains.telecom import billing, lookup
from sea_env.domains.telecom.clock import TODAY
from sea_env.domains.toolkit import tool


def _change(state: State, line_id: str, **fields: Any) -> dict[str, Any]:
    line = state.agent.edit("lines", line_id)
    line.update(fields)
    return line


@tool(Kind.WRITE)
def suspend_line(state: State, customer_id: str, line_id: str, reason: str) -> str:
    """Suspend an active line, for six months at most."""
    if lookup.line_of(state, customer_id, line_id)["status"] != "Active":
        raise ToolError("Line must be active to suspend")
    line = _change(state, line_id, status="Suspended", suspension_start_date=TODAY.isoformat())
    message = "Line suspended successfully. $5/month holding fee will apply."
    return lookup.summary_json({"message": message}, line=line)


@tool(Kind.WRITE)
def resume_line(state: State, customer_id: str, line_id: str) -> str:
    """Make a suspended line, or one that awaits activation, active again."""
    status = lookup.line_of(state, customer_id, line_id)["status"]
    if status not in {"Suspended", "Pending Activation"}:
        raise ToolError("Line must be suspended to resume")
    line = _change(state, line_id, status="Active", suspension_start_date=None)
    return lookup.summary_json({"message": "Line resumed successfully"}, line=line)


@tool(Kind.WRITE)
def enable_roaming(state: State, customer_id: str, line_id: str) -> str:
    """Allow a line to be used abroad."""
    if lookup.line_of(state, customer_id, line_id)["roaming_enabled"]:
        return "Roaming was already enabled"
    _change(state, line_id, roaming_enabled=True)
    return "Roaming enabled successfully"


@tool(Kind.WRITE)
def disable_roaming(state: State, customer_id: str, line_id: str) -> str:
    """Forbid a line to be used abroad."""
    if not lookup.line_of(state, customer_id, line_id)["roaming_enabled"]:
        return "Roaming was already disabled"
    _change(state, line_id, roaming_enabled=False)
    return "Roaming disabled successfully"


@tool(Kind.WRITE)
def refuel_data(state: State, customer_id: str, line_id: str, gb_amount: float) -> str:
    """Add data (in GB) to a line; the plan's price per GB goes onto the customer's next bill."""
    line = lookup.line_of(state, customer_id, line_id)
    if not gb_amount > 0:
        raise ToolError("Refuel amount must be positive")
    price = lookup.plan(state, line["plan_id"])["data_refueling_price_per_gb"]
    cost = gb_amount * price
    line = _change(state, line_id, data_refueling_gb=line["data_refueling_gb"] + gb_amount)
    billing.charge(state, customer_id, cost, f"Data refueling: {gb_amount} GB at ${price}/GB")
    return lookup.summary_json(
        {
            "message": f"Successfully added {gb_amount} GB of data for line {line_id} "
            f"for ${cost:.2f}",
            "new_data_refueling_gb": line["data_refueling_gb"],
            "charge": cost,
        }
    )
