"""Assertions about the end state of both sides."""

from typing import Literal

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.state import State
from sea_env.domains.telecom import lookup, network
from sea_env.domains.telecom.phone import around, read
from sea_env.domains.toolkit import tool

_CLOSE = 1e-6


@tool(Kind.READ)
def assert_data_refueling_amount(
    state: State, customer_id: str, line_id: str, expected_amount: float
) -> bool:
    """Whether this amount of data (in GB) was added to a line."""
    line = lookup.line_of(state, customer_id, line_id)
    return bool(abs(line["data_refueling_gb"] - expected_amount) < _CLOSE)


@tool(Kind.READ)
def assert_line_status(state: State, customer_id: str, line_id: str, expected_status: str) -> bool:
    """Whether a line has this status."""
    return bool(lookup.line_of(state, customer_id, line_id)["status"] == expected_status)


@tool(Kind.READ)
def assert_overdue_bill_exists(state: State, customer_id: str, overdue_bill_id: str) -> bool:
    """True if a customer's bill is overdue; raises ToolError, as tau2-bench's does, if not."""
    if overdue_bill_id not in lookup.customer(state, customer_id)["bill_ids"]:
        raise ToolError(f"Overdue bill {overdue_bill_id} not found")
    if lookup.bill(state, overdue_bill_id)["status"] != "Overdue":
        raise ToolError(f"Overdue bill {overdue_bill_id} is not overdue")
    return True


@tool(Kind.READ)
def assert_no_overdue_bill(state: State, overdue_bill_id: str) -> bool:
    """Whether a bill is paid, or there is no such bill."""
    bill = state.agent.get("bills", overdue_bill_id)
    return bill is None or bill["status"] == "Paid"


@tool(Kind.READ)
def assert_airplane_mode_status(state: State, expected_status: bool) -> bool:
    """Whether airplane mode is on."""
    return bool(read(state, "airplane_mode") == expected_status)


@tool(Kind.READ)
def assert_service_status(
    state: State,
    expected_status: Literal["connected", "searching", "no_service", "emergency_only"],
) -> bool:
    """Whether the phone has service."""
    return bool(read(state, "network_connection_status") == expected_status)


@tool(Kind.READ)
def assert_mobile_data_status(state: State, expected_status: bool) -> bool:
    """Whether mobile data works."""
    return network.data_works(state) == expected_status


@tool(Kind.READ)
def assert_mobile_roaming_status(state: State, expected_status: bool) -> bool:
    """Whether data roaming is on."""
    return bool(read(state, "roaming_enabled") == expected_status)


@tool(Kind.READ)
def assert_mobile_data_saver_mode_status(state: State, expected_status: bool) -> bool:
    """Whether data saver is on."""
    return bool(read(state, "data_saver_mode") == expected_status)


@tool(Kind.READ)
def assert_internet_speed(
    state: State, expected_speed: float, expected_desc: str | None = None
) -> bool:
    """Whether the internet has at least this speed (in Mbps), and this grade."""
    mbps, grade = network.speed(state) or (0.0, "No Connection")
    fits = expected_desc is None or grade.lower() == expected_desc.lower()
    return fits and mbps >= expected_speed


@tool(Kind.READ)
def assert_internet_not_excellent(state: State) -> bool:
    """Whether the internet is less than excellent, or there is none."""
    found = network.speed(state)
    return found is None or found[1] != "Excellent"


@tool(Kind.READ)
def assert_can_send_mms(state: State, expected_status: bool) -> bool:
    """Whether the messaging app can send picture messages."""
    return network.sends_mms(state) == expected_status


@tool(Kind.READ)
def assert_mobile_data_usage_exceeded(state: State, expected_status: bool) -> bool:
    """Whether the line has used up its data."""
    return bool(around(state, "mobile_data_usage_exceeded") == expected_status)


ASSERTIONS = (
    assert_data_refueling_amount,
    assert_line_status,
    assert_overdue_bill_exists,
    assert_no_overdue_bill,
    assert_airplane_mode_status,
    assert_service_status,
    assert_mobile_data_status,
    assert_mobile_roaming_status,
    assert_mobile_data_saver_mode_status,
    assert_internet_speed,
    assert_internet_not_excellent,
    assert_can_send_mms,
    assert_mobile_data_usage_exceeded,
)
