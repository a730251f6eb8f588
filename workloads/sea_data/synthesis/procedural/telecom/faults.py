"""A telecom call, and what can be wrong with a phone or line, each fault with its repair.

Repairs are in the order of the policy. Each begins by finding the fault with the tools, since the
agent doesn't know the initial state.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sea_data.synthesis.candidate import DialogueBuilder, NoCandidateError
from sea_data.synthesis.plan import ToolMode
from sea_data.synthesis.procedural.phrasing import Phrasing
from sea_env.domains.telecom.clock import TODAY

Record = Mapping[str, Any]

_LEADS = (
    "Please do this on your phone: `{tool}`{arguments}. What does it say?",
    "Could you use `{tool}`{arguments} on your phone, and tell me what it says?",
    "Next, please use `{tool}`{arguments}. What do you see?",
)
_TOLD = ("I did that. It says: {result}", "Done. I see this: {result}")


@dataclass
class CustomerCall:
    """One call about one line."""

    customer: Record
    line: Record
    plan: Record
    bills: list[Record]
    mode: ToolMode
    phrasing: Phrasing
    abroad: bool = False
    faults: list[dict[str, Any]] = field(default_factory=list)
    """`initialization_actions` of the task."""

    @property
    def rng(self) -> random.Random:
        return self.phrasing.rng

    @property
    def of_line(self) -> dict[str, str]:
        """The arguments that name the line."""
        return {"customer_id": self.customer["customer_id"], "line_id": self.line["line_id"]}

    @property
    def has_ended(self) -> bool:
        """True if the line's contract has ended."""
        return str(self.line["contract_end_date"]) < TODAY.isoformat()

    def add_fault(self, function: str, side: str = "user", **arguments: Any) -> None:
        """Adds a fault to the initial state."""
        self.faults.append({"env_type": side, "func_name": function, "arguments": arguments})

    def ask_user_to_run(self, dialogue: DialogueBuilder, tool: str, **arguments: Any) -> str:
        """The agent names a tool of the user, who runs it and reports the result."""
        given = f" {json.dumps(arguments)}" if arguments else ""
        dialogue.agent(self.rng.choice(_LEADS).format(tool=tool, arguments=given))
        result = str(dialogue.user_call(tool, **arguments))
        dialogue.user(self.rng.choice(_TOLD).format(result=result))
        return result


_MAX_REFUEL = 2.0
_BILL_ID = "B9000001"


@dataclass(frozen=True)
class Fault:
    """One fault. `rank` orders the repairs of a call."""

    rank: int
    inject: Callable[[CustomerCall], None]
    """Adds the fault to the initial state."""
    repair: Callable[[CustomerCall, DialogueBuilder], None]
    """Writes the part of the dialogue that finds and repairs it."""
    note: str = ""
    """Instructions for the user model."""
    abroad: bool | None = None
    """Where the customer must be; None: anywhere."""


def _fault(function: str, **arguments: Any) -> Callable[[CustomerCall], None]:
    return lambda call: call.add_fault(function, **arguments)


def _repair(
    look: str, *tools: str, **arguments: str
) -> Callable[[CustomerCall, DialogueBuilder], None]:
    """A repair that looks first, then uses the tools, the last one with the arguments."""

    def repair(call: CustomerCall, dialogue: DialogueBuilder) -> None:
        call.ask_user_to_run(dialogue, look)
        for tool in tools[:-1]:
            call.ask_user_to_run(dialogue, tool)
        call.ask_user_to_run(dialogue, tools[-1], **arguments)

    return repair


def _suspend(call: CustomerCall) -> None:
    if call.line["status"] != "Active" or any(b["status"] == "Overdue" for b in call.bills):
        raise NoCandidateError("no customer has an active line and no overdue bill")
    if call.has_ended:
        raise NoCandidateError("no customer has a line whose contract still runs")
    call.add_fault(
        "suspend_line_for_overdue_bill",
        side="assistant",
        **call.of_line,
        new_bill_id=_BILL_ID,
        contract_ended=False,
    )


def _resume(call: CustomerCall, dialogue: DialogueBuilder) -> None:
    dialogue.call("get_details_by_id", id=call.line["line_id"])
    dialogue.call("get_details_by_id", id=_BILL_ID)
    question = (
        f"Your line is suspended because the bill {_BILL_ID} over "
        f"${call.plan['price_per_month']:.2f} is overdue. I can send you a payment request."
    )
    dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
    dialogue.call(
        "send_payment_request", customer_id=call.customer["customer_id"], bill_id=_BILL_ID
    )
    call.ask_user_to_run(dialogue, "check_payment_request")
    call.ask_user_to_run(dialogue, "make_payment")
    dialogue.call("get_details_by_id", id=_BILL_ID)
    dialogue.call("resume_line", **call.of_line)
    call.ask_user_to_run(dialogue, "reboot_device")


def _use_up(call: CustomerCall) -> None:
    allowed = call.plan["data_limit_gb"] + call.line["data_refueling_gb"]
    # Less than the largest refuel: otherwise nothing helps.
    used = round(allowed + call.rng.uniform(0.1, _MAX_REFUEL - 0.2), 1)
    call.add_fault("set_data_usage", side="assistant", **call.of_line, data_used_gb=used)


def _refuel(call: CustomerCall, dialogue: DialogueBuilder) -> None:
    dialogue.call("get_data_usage", **call.of_line)
    dialogue.call("get_details_by_id", id=call.plan["plan_id"])
    price = _MAX_REFUEL * call.plan["data_refueling_price_per_gb"]
    question = f"You have used up your data. I can add {_MAX_REFUEL:g} GB for ${price:.2f}."
    dialogue.confirm(call.phrasing.confirm(question), call.phrasing.yes())
    dialogue.call("refuel_data", **call.of_line, gb_amount=_MAX_REFUEL)


def _forbid_roaming(call: CustomerCall) -> None:
    call.add_fault("disable_roaming", side="assistant", **call.of_line)
    call.add_fault("turn_roaming_on")


def _allow_roaming(call: CustomerCall, dialogue: DialogueBuilder) -> None:
    dialogue.call("get_details_by_id", id=call.line["line_id"])
    dialogue.call("enable_roaming", **call.of_line)


def _forget_roaming(call: CustomerCall) -> None:
    call.add_fault("enable_roaming", side="assistant", **call.of_line)
    call.add_fault("turn_roaming_off")


SERVICE: Mapping[str, Fault] = {
    "airplane_mode": Fault(
        1, _fault("turn_airplane_mode_on"), _repair("check_status_bar", "toggle_airplane_mode")
    ),
    "sim_out": Fault(2, _fault("unseat_sim_card"), _repair("check_sim_status", "reseat_sim_card")),
    "apn_broken": Fault(
        3,
        _fault("break_apn_settings"),
        _repair("check_apn_settings", "reset_apn_settings", "reboot_device"),
    ),
    "suspended": Fault(4, _suspend, _resume, note="You are willing to pay overdue bills."),
}
"""Faults that leave a phone without service."""

DATA: Mapping[str, Fault] = {
    "data_off": Fault(5, _fault("turn_data_off"), _repair("check_network_status", "toggle_data")),
    "roaming_on_line": Fault(6, _forbid_roaming, _allow_roaming, abroad=True),
    "roaming_on_phone": Fault(
        7, _forget_roaming, _repair("check_network_status", "toggle_roaming"), abroad=True
    ),
    "data_used_up": Fault(
        8, _use_up, _refuel, note="You are willing to have 2 GB of data added, at its price."
    ),
}
"""Faults that leave a phone without mobile data."""

SPEED: Mapping[str, Fault] = {
    "data_saver": Fault(
        9,
        _fault("turn_data_saver_mode_on"),
        _repair("check_data_restriction_status", "toggle_data_saver_mode"),
    ),
    "old_network": Fault(
        10,
        _fault("set_network_mode_preference", mode="2g_only"),
        _repair(
            "check_network_mode_preference", "set_network_mode_preference", mode="4g_5g_preferred"
        ),
    ),
    "slow_vpn": Fault(11, _fault("break_vpn"), _repair("check_vpn_status", "disconnect_vpn")),
}
"""Faults that make mobile data slow."""

MMS: Mapping[str, Fault] = {
    "wifi_calling": Fault(
        12,
        _fault("set_wifi_calling", enabled=True, mms_over_wifi=True),
        _repair("check_wifi_calling_status", "toggle_wifi_calling"),
    ),
    "mms_server": Fault(
        13,
        _fault("break_apn_mms_setting"),
        _repair("check_apn_settings", "reset_apn_settings", "reboot_device"),
    ),
    "storage_permission": Fault(
        14,
        _fault("remove_app_permission", app_name="messaging", permission="storage"),
        lambda call, dialogue: _grant(call, dialogue, "storage"),
    ),
    "sms_permission": Fault(
        15,
        _fault("remove_app_permission", app_name="messaging", permission="sms"),
        lambda call, dialogue: _grant(call, dialogue, "sms"),
    ),
}
"""Faults that keep picture messages from being sent."""


def _grant(call: CustomerCall, dialogue: DialogueBuilder, permission: str) -> None:
    call.ask_user_to_run(dialogue, "check_app_permissions", app_name="messaging")
    call.ask_user_to_run(
        dialogue, "grant_app_permission", app_name="messaging", permission=permission
    )
