"""What can be wrong with a phone or a line, each with its repair as the policy orders them.

A repair begins by finding the fault with the tools: the agent doesn't know the initial state.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sea_data.synthesis.desk import Desk
from sea_data.synthesis.procedural.telecom.scene import Call
from sea_data.synthesis.proposal import NothingFitsError

_MAX_REFUEL = 2.0
_BILL_ID = "B9000001"


@dataclass(frozen=True)
class Trouble:
    """One fault. `causes` and `repair` are given the call; `rank` orders repairs in it."""

    rank: int
    causes: Callable[[Call], None]
    repair: Callable[[Call, Desk], None]
    note: str = ""
    """What whoever plays the customer must know."""
    abroad: bool | None = None
    """Where the customer must be; None: anywhere."""


def _broken(function: str, **arguments: Any) -> Callable[[Call], None]:
    return lambda call: call.breaks(function, **arguments)


def _using(look: str, *tools: str, **arguments: str) -> Callable[[Call, Desk], None]:
    """Look first, then use the tools, the last one with the arguments."""

    def repair(call: Call, desk: Desk) -> None:
        call.have_used(desk, look)
        for tool in tools[:-1]:
            call.have_used(desk, tool)
        call.have_used(desk, tools[-1], **arguments)

    return repair


def _suspend(call: Call) -> None:
    if call.line["status"] != "Active" or any(b["status"] == "Overdue" for b in call.bills):
        raise NothingFitsError("no customer has an active line and no overdue bill")
    if call.has_ended:
        raise NothingFitsError("no customer has a line whose contract still runs")
    call.breaks(
        "suspend_line_for_overdue_bill",
        side="assistant",
        **call.of_line,
        new_bill_id=_BILL_ID,
        contract_ended=False,
    )


def _resume(call: Call, desk: Desk) -> None:
    desk.call("get_details_by_id", id=call.line["line_id"])
    desk.call("get_details_by_id", id=_BILL_ID)
    question = (
        f"Your line is suspended because the bill {_BILL_ID} over "
        f"${call.plan['price_per_month']:.2f} is overdue. I can send you a payment request."
    )
    desk.confirm(call.voice.confirm(question), call.voice.yes())
    desk.call("send_payment_request", customer_id=call.customer["customer_id"], bill_id=_BILL_ID)
    call.have_used(desk, "check_payment_request")
    call.have_used(desk, "make_payment")
    desk.call("get_details_by_id", id=_BILL_ID)
    desk.call("resume_line", **call.of_line)
    call.have_used(desk, "reboot_device")


def _use_up(call: Call) -> None:
    allowed = call.plan["data_limit_gb"] + call.line["data_refueling_gb"]
    # Less than what may be added: otherwise nothing helps.
    used = round(allowed + call.rng.uniform(0.1, _MAX_REFUEL - 0.2), 1)
    call.breaks("set_data_usage", side="assistant", **call.of_line, data_used_gb=used)


def _refuel(call: Call, desk: Desk) -> None:
    desk.call("get_data_usage", **call.of_line)
    desk.call("get_details_by_id", id=call.plan["plan_id"])
    price = _MAX_REFUEL * call.plan["data_refueling_price_per_gb"]
    question = f"You have used up your data. I can add {_MAX_REFUEL:g} GB for ${price:.2f}."
    desk.confirm(call.voice.confirm(question), call.voice.yes())
    desk.call("refuel_data", **call.of_line, gb_amount=_MAX_REFUEL)


def _forbid_roaming(call: Call) -> None:
    call.breaks("disable_roaming", side="assistant", **call.of_line)
    call.breaks("turn_roaming_on")


def _allow_roaming(call: Call, desk: Desk) -> None:
    desk.call("get_details_by_id", id=call.line["line_id"])
    desk.call("enable_roaming", **call.of_line)


def _forget_roaming(call: Call) -> None:
    call.breaks("enable_roaming", side="assistant", **call.of_line)
    call.breaks("turn_roaming_off")


SERVICE: Mapping[str, Trouble] = {
    "airplane_mode": Trouble(
        1, _broken("turn_airplane_mode_on"), _using("check_status_bar", "toggle_airplane_mode")
    ),
    "sim_out": Trouble(
        2, _broken("unseat_sim_card"), _using("check_sim_status", "reseat_sim_card")
    ),
    "apn_broken": Trouble(
        3,
        _broken("break_apn_settings"),
        _using("check_apn_settings", "reset_apn_settings", "reboot_device"),
    ),
    "suspended": Trouble(4, _suspend, _resume, note="You are willing to pay overdue bills."),
}
"""Faults that leave a phone without service."""

DATA: Mapping[str, Trouble] = {
    "data_off": Trouble(5, _broken("turn_data_off"), _using("check_network_status", "toggle_data")),
    "roaming_on_line": Trouble(6, _forbid_roaming, _allow_roaming, abroad=True),
    "roaming_on_phone": Trouble(
        7, _forget_roaming, _using("check_network_status", "toggle_roaming"), abroad=True
    ),
    "data_used_up": Trouble(
        8, _use_up, _refuel, note="You are willing to have 2 GB of data added, at its price."
    ),
}
"""Faults that leave a phone without mobile data."""

SPEED: Mapping[str, Trouble] = {
    "data_saver": Trouble(
        9,
        _broken("turn_data_saver_mode_on"),
        _using("check_data_restriction_status", "toggle_data_saver_mode"),
    ),
    "old_network": Trouble(
        10,
        _broken("set_network_mode_preference", mode="2g_only"),
        _using(
            "check_network_mode_preference", "set_network_mode_preference", mode="4g_5g_preferred"
        ),
    ),
    "slow_vpn": Trouble(11, _broken("break_vpn"), _using("check_vpn_status", "disconnect_vpn")),
}
"""Faults that make mobile data slow."""

MMS: Mapping[str, Trouble] = {
    "wifi_calling": Trouble(
        12,
        _broken("set_wifi_calling", enabled=True, mms_over_wifi=True),
        _using("check_wifi_calling_status", "toggle_wifi_calling"),
    ),
    "mms_server": Trouble(
        13,
        _broken("break_apn_mms_setting"),
        _using("check_apn_settings", "reset_apn_settings", "reboot_device"),
    ),
    "storage_permission": Trouble(
        14,
        _broken("remove_app_permission", app_name="messaging", permission="storage"),
        lambda call, desk: _grant(call, desk, "storage"),
    ),
    "sms_permission": Trouble(
        15,
        _broken("remove_app_permission", app_name="messaging", permission="sms"),
        lambda call, desk: _grant(call, desk, "sms"),
    ),
}
"""Faults that keep picture messages from being sent."""


def _grant(call: Call, desk: Desk, permission: str) -> None:
    call.have_used(desk, "check_app_permissions", app_name="messaging")
    call.have_used(desk, "grant_app_permission", app_name="messaging", permission=permission)
