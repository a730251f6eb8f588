"""Telecom as a `Domain`: tools of both sides, databases that stay in step.

`sync_sides` carries over what one side's state means to the other: the line's to the phone, a
payment's to the bill. It writes only values that differ, so that an episode holds no more than what
changed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sea_env.domains import common_tools
from sea_env.domains.base import ToolError
from sea_env.domains.database import Database, DatabaseError
from sea_env.domains.environment import Toolbox
from sea_env.domains.overlay import Tables
from sea_env.domains.state import State
from sea_env.domains.telecom import (
    billing,
    initialization_functions,
    lines,
    lookup,
    phone_apps,
    phone_checks,
    phone_settings,
)
from sea_env.domains.telecom.assertions import ASSERTIONS
from sea_env.domains.telecom.phone import around, write_around
from sea_env.domains.telecom.phone_records import UserTables
from sea_env.domains.telecom.phone_settings import SWITCHES
from sea_env.domains.telecom.records import (
    ID_FIELDS,
    TelecomTables,
    tables_as_lists,
    tables_by_id,
)
from sea_env.domains.tool_domain import ToolDomain
from sea_env.domains.validation import validated


class Telecom(ToolDomain):
    """13 tools of the agent, 30 of the user, in tau2-bench's order."""

    name = "telecom"
    policy_file = "telecom_policy.md"
    agent_model = TelecomTables
    user_model = UserTables
    tools = (
        lookup.get_customer_by_phone,
        lookup.get_customer_by_id,
        lookup.get_customer_by_name,
        lookup.get_details_by_id,
        lines.suspend_line,
        lines.resume_line,
        lookup.get_bills_for_customer,
        billing.send_payment_request,
        lookup.get_data_usage,
        lines.enable_roaming,
        lines.disable_roaming,
        common_tools.transfer_to_human_agents,
        lines.refuel_data,
    )
    user_tools = (
        phone_checks.check_status_bar,
        phone_checks.check_network_status,
        phone_checks.check_network_mode_preference,
        phone_settings.set_network_mode_preference,
        phone_checks.run_speed_test,
        SWITCHES["toggle_airplane_mode"],
        phone_checks.check_sim_status,
        phone_settings.reseat_sim_card,
        SWITCHES["toggle_data"],
        SWITCHES["toggle_roaming"],
        phone_checks.check_data_restriction_status,
        SWITCHES["toggle_data_saver_mode"],
        phone_checks.check_apn_settings,
        phone_settings.set_apn_settings,
        phone_settings.reset_apn_settings,
        phone_checks.check_wifi_status,
        SWITCHES["toggle_wifi"],
        phone_checks.check_wifi_calling_status,
        SWITCHES["toggle_wifi_calling"],
        phone_checks.check_vpn_status,
        phone_settings.connect_vpn,
        phone_settings.disconnect_vpn,
        phone_apps.check_installed_apps,
        phone_apps.check_app_status,
        phone_apps.check_app_permissions,
        phone_apps.grant_app_permission,
        phone_checks.can_send_mms,
        phone_settings.reboot_device,
        phone_checks.check_payment_request,
        phone_apps.make_payment,
    )
    assertion_tools = ASSERTIONS
    initialization_tools = {
        "assistant": initialization_functions.AGENT_FUNCTIONS,
        "user": initialization_functions.USER_FUNCTIONS,
    }

    def parse(self, data: bytes, name: str, user_data: bytes | None = None) -> Database:
        """Without `user_data` the user has a working phone, and no name or number yet.

        A user whose number is known begins in step with the line of that number.
        """
        state = State(super().parse(data, name, user_data))
        try:
            sync_sides(state)
        except ToolError as error:
            raise DatabaseError(f"The user's database doesn't fit the agent's: {error}.") from error
        return Database(state.agent.folded(), state.user.folded())

    def read_agent(self, raw: Mapping[str, Any], name: str) -> Tables:
        """Tables by id from the file's lists; raises DatabaseError."""
        return tables_by_id(validated(TelecomTables, tables_as_lists(raw), name), name)

    def _make_toolbox(self) -> Toolbox:
        return replace(super()._make_toolbox(), sync=sync_sides, listed=frozenset(ID_FIELDS))


def sync_sides(state: State) -> None:
    """Idempotent. Raises ToolError if the user's phone number has no line.

    Reads lines, plans, bills, customers and surroundings: a write to anything else needs no sync.
    """
    phone_number = around(state, "phone_number")
    if phone_number is None:
        return
    line = lookup.line_by_phone(state, phone_number)
    plan = lookup.plan(state, line["plan_id"])
    limit = plan["data_limit_gb"] + line["data_refueling_gb"]
    write_around(
        state,
        line_active=line["status"] == "Active",
        roaming_allowed=line["roaming_enabled"],
        mobile_data_usage_exceeded=line["data_used_gb"] >= limit,
    )
    # In this order: a paid request must be gone before the next bill can become one.
    _settle(state)
    _request(state, phone_number)


def _settle(state: State) -> None:
    """Marks the bill of a paid request as paid and removes the request."""
    request = around(state, "payment_request")
    if request is not None and request["paid"]:
        billing.set_paid(state, request["bill_id"])
        write_around(state, payment_request=None)


def _request(state: State, phone_number: str) -> None:
    """Makes the first bill that awaits payment the user's request, unless there is one already."""
    if around(state, "payment_request") is not None:
        return
    waiting = lookup.awaiting_payment(state, lookup.customer_by_phone(state, phone_number))
    if waiting:
        request = {
            "bill_id": waiting[0]["bill_id"],
            "amount_due": waiting[0]["total_due"],
            "paid": False,
        }
        write_around(state, payment_request=request)
