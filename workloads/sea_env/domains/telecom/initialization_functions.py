"""What initial states call in addition to the tools: who the user is, where, and what is broken."""

from collections.abc import Callable
from typing import Any

from sea_env.domains.base import Kind, Tool, ToolError
from sea_env.domains.state import State
from sea_env.domains.telecom import billing, lookup, network, phone_apps, phone_settings
from sea_env.domains.telecom.clock import TODAY, bill_dates
from sea_env.domains.telecom.phone import read, write, write_around
from sea_env.domains.toolkit import parameters, tool

_SIM = {"pin": "locked_pin", "puk": "locked_puk"}


def _turn(name: str, on: bool, description: str, flip: Callable[[State], bool]) -> Tool:
    """A function that leaves a switch in the state `on`.

    As tau2-bench: it flips the switch once, and again if that was wrong. The side effects of each
    flip happen too.
    """

    def run(state: State) -> None:
        if flip(state) is not on:
            flip(state)

    return Tool(name, Kind.WRITE, description, parameters(run), run)


def _set(name: str, field: str, on: bool, description: str) -> Tool:
    """A function that sets a switch directly, without the side effects of flipping it."""

    def run(state: State) -> None:
        write(state, **{field: on})

    return Tool(name, Kind.WRITE, description, parameters(run), run)


def _flip_data(state: State) -> bool:
    return phone_settings.flip_and_search(state, "data_enabled")


def _flip_roaming(state: State) -> bool:
    return phone_settings.flip_and_search(state, "roaming_enabled")


_SWITCHED = (
    _turn("turn_airplane_mode_on", True, "Airplane mode is on.", phone_settings.flip_airplane_mode),
    _turn(
        "turn_airplane_mode_off", False, "Airplane mode is off.", phone_settings.flip_airplane_mode
    ),
    _set(
        "turn_data_on",
        "data_enabled",
        True,
        "Mobile data is on; the phone doesn't search for a network.",
    ),
    _turn("turn_data_off", False, "Mobile data is off.", _flip_data),
    _turn("turn_roaming_on", True, "Data roaming is on.", _flip_roaming),
    _turn("turn_roaming_off", False, "Data roaming is off.", _flip_roaming),
    _set("turn_data_saver_mode_on", "data_saver_mode", True, "Data saver is on."),
    _set("turn_data_saver_mode_off", "data_saver_mode", False, "Data saver is off."),
)


@tool(Kind.WRITE)
def set_user_info(state: State, name: str, phone_number: str) -> None:
    """Who the user is."""
    write_around(state, name=name, phone_number=phone_number)


@tool(Kind.WRITE)
def set_user_location(state: State, abroad: bool) -> None:
    """Whether the user is abroad."""
    write_around(state, is_abroad=abroad)


@tool(Kind.WRITE)
def simulate_network_search(state: State) -> None:
    """The phone searches for a network again."""
    network.search(state)


@tool(Kind.WRITE)
def unseat_sim_card(state: State) -> None:
    """The SIM card is out."""
    write(state, sim_card_missing=True)
    network.search(state)


@tool(Kind.WRITE)
def lock_sim_card(state: State, mode: str) -> None:
    """The SIM card is locked (`pin` or `puk`); no tool unlocks it."""
    if mode in _SIM:
        write(state, sim_card_status=_SIM[mode])
    network.search(state)


@tool(Kind.WRITE)
def break_apn_settings(state: State) -> None:
    """The access point is wrong: no service."""
    write(state, active_apn_settings={**read(state, "active_apn_settings"), "apn_name": "broken"})
    network.search(state)


@tool(Kind.WRITE)
def break_apn_mms_setting(state: State) -> None:
    """The access point lacks the server for picture messages."""
    write(state, active_apn_settings={**read(state, "active_apn_settings"), "mmsc_url": None})


@tool(Kind.WRITE)
def set_wifi_calling(state: State, enabled: bool, mms_over_wifi: bool | None = None) -> None:
    """Calls over Wi-Fi, and picture messages there."""
    write(state, wifi_calling_enabled=enabled)
    if mms_over_wifi is not None:
        write(state, wifi_calling_mms_over_wifi=mms_over_wifi)


@tool(Kind.WRITE)
def break_vpn(state: State) -> None:
    """The phone is connected to a slow VPN."""
    phone_settings.slow_down_vpn(state)


@tool(Kind.WRITE)
def remove_app_permission(state: State, app_name: str, permission: str) -> None:
    """An app lacks a permission; unknown apps and permissions are ignored."""
    if permission.lower() in (phone_apps.permissions(state, app_name) or {}):
        phone_apps.permit(state, app_name, permission.lower(), allowed=False)


@tool(Kind.WRITE)
def set_data_usage(state: State, customer_id: str, line_id: str, data_used_gb: float) -> None:
    """How much data (in GB) a line has used."""
    lookup.line_of(state, customer_id, line_id)
    state.agent.edit("lines", line_id)["data_used_gb"] = data_used_gb


@tool(Kind.WRITE)
def suspend_line_for_overdue_bill(
    state: State, customer_id: str, line_id: str, new_bill_id: str, contract_ended: bool
) -> None:
    """A line is suspended: last month's bill for it is overdue, and maybe its contract ended."""
    line = lookup.line(state, line_id)
    if line["status"] != "Active":
        raise ToolError("Line must be active to suspend for unpaid bill")
    amount = lookup.plan(state, line["plan_id"])["price_per_month"]
    if amount <= 0:
        raise ToolError("Amount must be positive for overdue bill")
    customer = lookup.customer(state, customer_id)
    if any(bill["status"] == "Overdue" for bill in lookup.bills_of(state, customer)):
        raise ToolError("Customer already has an overdue bill")
    dates = bill_dates(-1)
    billing.add_bill(state, customer, new_bill_id, dates, "Overdue")
    billing.add_item(state, new_bill_id, amount, f"Charge for line {line_id}")
    fields: dict[str, Any] = {"status": "Suspended", "suspension_start_date": TODAY.isoformat()}
    if contract_ended:
        fields["contract_end_date"] = dates["period_end"]
    state.agent.edit("lines", line_id).update(fields)


USER_FUNCTIONS = (
    set_user_info,
    set_user_location,
    simulate_network_search,
    *_SWITCHED,
    unseat_sim_card,
    lock_sim_card,
    break_apn_settings,
    break_apn_mms_setting,
    set_wifi_calling,
    break_vpn,
    remove_app_permission,
)
AGENT_FUNCTIONS = (set_data_usage, suspend_line_for_overdue_bill)
