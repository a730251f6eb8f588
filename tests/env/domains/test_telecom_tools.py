"""Telecom's tools, faults and assertions on a small company: agent, phone, and both together."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sea_env.domains import initial_state
from sea_env.domains.base import ToolError
from sea_env.domains.database import DatabaseError
from sea_testing.small_telecom import (
    DATABASE,
    JANE,
    LINE,
    TABLES,
    TELECOM,
    begin,
    desk,
    parsed,
    speed,
    user,
)


@pytest.mark.parametrize(
    ("fault", "arguments", "repairs"),
    [
        ("turn_airplane_mode_on", {}, [("toggle_airplane_mode", {})]),
        ("turn_data_off", {}, [("toggle_data", {})]),
        ("turn_data_saver_mode_on", {}, [("toggle_data_saver_mode", {})]),
        ("unseat_sim_card", {}, [("reseat_sim_card", {})]),
        ("break_vpn", {}, [("disconnect_vpn", {})]),
        ("break_apn_settings", {}, [("reset_apn_settings", {}), ("reboot_device", {})]),
        (
            "set_network_mode_preference",
            {"mode": "3g_only"},
            [("set_network_mode_preference", {"mode": "4g_5g_preferred"})],
        ),
    ],
)
def test_each_fault_slows_the_internet_and_its_repair_restores_it(
    fault: str, arguments: dict[str, Any], repairs: list[tuple[str, dict[str, Any]]]
) -> None:
    world = begin(("simulate_network_search", {}), (fault, arguments))
    assert world.check("assert_internet_not_excellent", {})
    for name, given_arguments in repairs:
        assert not world.call(name, given_arguments, "user").error
    assert world.check("assert_internet_speed", {"expected_speed": 200})
    assert "Excellent" in speed(world)


@pytest.mark.parametrize(
    ("fault", "arguments", "repairs"),
    [
        ("break_apn_mms_setting", {}, [("reset_apn_settings", {}), ("reboot_device", {})]),
        (
            "remove_app_permission",
            {"app_name": "messaging", "permission": "SMS"},
            [("grant_app_permission", {"app_name": "messaging", "permission": "Sms"})],
        ),
        (
            "set_wifi_calling",
            {"enabled": True, "mms_over_wifi": True},
            [("toggle_wifi_calling", {})],
        ),
    ],
)
def test_each_fault_of_picture_messages_has_its_repair(
    fault: str, arguments: dict[str, Any], repairs: list[tuple[str, dict[str, Any]]]
) -> None:
    world = begin((fault, arguments))
    assert "cannot send" in user(world, "can_send_mms")
    for name, given_arguments in repairs:
        user(world, name, **given_arguments)
    assert world.check("assert_can_send_mms", {"expected_status": True})


@pytest.mark.parametrize(("mode", "word"), [("pin", "PIN"), ("puk", "PUK")])
def test_a_locked_sim_card_stays_locked(mode: str, word: str) -> None:
    world = begin(("lock_sim_card", {"mode": mode}))
    for name in ("reseat_sim_card", "reboot_device"):
        user(world, name)
    assert word in user(world, "check_sim_status")
    assert world.check("assert_service_status", {"expected_status": "no_service"})


def test_abroad_the_line_and_the_phone_must_roam() -> None:
    world = begin(("set_user_location", {"abroad": True}))
    working = {"expected_status": True}
    assert not world.check("assert_mobile_data_status", working)
    user(world, "toggle_roaming")
    assert not world.check("assert_mobile_data_status", working)
    assert desk(world, "enable_roaming", **LINE) == "Roaming enabled successfully"
    assert desk(world, "enable_roaming", **LINE) == "Roaming was already enabled"
    assert world.check("assert_mobile_data_status", working)
    desk(world, "disable_roaming", **LINE)
    assert not world.check("assert_mobile_data_status", working)


def test_refueling_restores_used_up_data_and_is_charged_on_a_new_draft_bill() -> None:
    used = {**LINE, "data_used_gb": 5.5}
    action = {"env_type": "assistant", "func_name": "set_data_usage", "arguments": used}
    who = {"name": "J", "phone_number": "555-1"}
    known = {"env_type": "user", "func_name": "set_user_info", "arguments": who}
    state = {"initialization_actions": [action, known]}
    world = TELECOM.open(initial_state.begin(TELECOM, DATABASE, state))
    assert world.check("assert_mobile_data_usage_exceeded", {"expected_status": True})
    answer = json.loads(desk(world, "refuel_data", **LINE, gb_amount=1))
    assert answer == {
        "message": "Successfully added 1 GB of data for line L1 for $2.00",
        "new_data_refueling_gb": "1.0",
        "charge": "2.0",
    }
    assert world.check("assert_mobile_data_usage_exceeded", {"expected_status": False})
    assert world.check("assert_data_refueling_amount", {**LINE, "expected_amount": 1.0})
    bill = json.loads(desk(world, "get_bills_for_customer", **JANE, limit=1))[0]
    assert (bill["status"], bill["total_due"]) == ("Draft", 2.0)
    assert (bill["period_start"], bill["due_date"]) == ("2025-03-01", "2025-03-15")
    assert bill["line_items"][0]["description"] == "Data refueling: 1 GB at $2.0/GB"
    again = TELECOM.open(world.database)
    desk(again, "refuel_data", **LINE, gb_amount=1)
    assert again.changes() == world.changes(), "the new bill's id is deterministic"


def test_a_payment_goes_from_the_agent_to_the_phone_and_back() -> None:
    world = begin()
    assert user(world, "make_payment") == "You do not have a payment request."
    desk(world, "send_payment_request", **JANE, bill_id="B1")
    assert user(world, "check_payment_request") == (
        "You have a payment request for bill B1 of 30.0 USD."
    )
    again = world.call("send_payment_request", {**JANE, "bill_id": "B1"})
    assert again.content == "Error: A bill is already awaiting payment for this customer"
    assert not world.check("assert_no_overdue_bill", {"overdue_bill_id": "B1"})
    user(world, "make_payment")
    assert world.check("assert_no_overdue_bill", {"overdue_bill_id": "B1"})
    assert json.loads(desk(world, "get_details_by_id", id="B1"))["status"] == "Paid"
    assert user(world, "check_payment_request") == "No payment request has been made."


def test_a_suspended_line_has_no_service_until_it_is_resumed_and_the_phone_restarted() -> None:
    world = begin()
    answer = json.loads(desk(world, "suspend_line", **LINE, reason="lost"))
    assert answer["line"]["suspension_start_date"] == "2025-02-25"
    assert desk(world, "suspend_line", **LINE, reason="x") == (
        "Error: Line must be active to suspend"
    )
    user(world, "reboot_device")
    assert "no_service" in user(world, "check_network_status")
    desk(world, "resume_line", **LINE)
    assert world.check("assert_line_status", {**LINE, "expected_status": "Active"})
    assert world.check("assert_service_status", {"expected_status": "no_service"})
    user(world, "reboot_device")
    assert world.check("assert_service_status", {"expected_status": "connected"})


def test_the_agents_lookups() -> None:
    world = begin(phone=None)
    assert json.loads(desk(world, "get_customer_by_phone", phone_number="555-2"))["full_name"] == (
        "Jane Roe"
    )
    found = desk(world, "get_customer_by_name", full_name="jane ROE", dob="1980-01-01")
    assert [one["customer_id"] for one in json.loads(found)] == ["C1"]
    assert desk(world, "get_customer_by_name", full_name="X", dob="1980-01-01") == "[]"
    device = json.loads(desk(world, "get_details_by_id", id="D1"))
    assert device["activation_date"] == "2025-01-02 03:04:05"
    assert json.loads(desk(world, "get_data_usage", **LINE)) == {
        "line_id": "L1",
        "data_used_gb": "0.0",
        "data_limit_gb": "5.0",
        "data_refueling_gb": "0.0",
        "cycle_end_date": "2025-02-28",
    }


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("get_details_by_id", {"id": "X1"}, "Unknown ID format or type: X1"),
        ("get_details_by_id", {"id": "L9"}, "Line with ID L9 not found"),
        ("get_customer_by_phone", {"phone_number": "1"}, "phone number 1 not found"),
        ("get_data_usage", {**JANE, "line_id": "L9"}, "Line L9 not found for customer C1"),
        ("resume_line", LINE, "Line must be suspended to resume"),
        ("refuel_data", {**LINE, "gb_amount": 0}, "Refuel amount must be positive"),
        ("refuel_data", {**LINE, "gb_amount": math.nan}, "Refuel amount must be positive"),
        ("refuel_data", {**LINE, "gb_amount": 10**400}, "too large"),
        ("refuel_data", {**LINE, "gb_amount": "1"}, "wants 'gb_amount' to be a number"),
        ("send_payment_request", {**JANE, "bill_id": "B9"}, "Bill B9 not found for customer C1"),
        ("check_status_bar", {}, "Tool 'check_status_bar' not found"),
    ],
)
def test_refused_calls_change_nothing(name: str, arguments: Any, reason: str) -> None:
    world = begin()
    result = world.call(name, arguments)
    assert result.error
    assert reason in result.content
    assert world.changes() == world.changes("user") == []


def test_mistakes_of_the_user_are_results_without_an_error() -> None:
    world = begin()
    assert "'5g' is not a valid option" in user(world, "set_network_mode_preference", mode="5g")
    granted = user(world, "grant_app_permission", app_name="messaging", permission="fly")
    assert granted.startswith("Error. Permission 'fly' not tracked for app 'messaging', available")
    assert "not found" in user(world, "check_app_status", app_name="x")
    wrong = world.call("set_apn_settings", {"apn_settings": {"apn_name": "x"}}, "user")
    assert wrong.error
    assert world.changes("user") == []


def test_a_slow_vpn_stays_slow_in_its_episode_only() -> None:
    world = begin(("break_vpn", {}))
    user(world, "disconnect_vpn")
    user(world, "connect_vpn")
    assert "<PerformanceLevel.POOR: 'poor'>" in user(world, "check_vpn_status")
    other = begin()
    user(other, "connect_vpn")
    assert "<PerformanceLevel.EXCELLENT: 'excellent'>" in user(other, "check_vpn_status")


def test_a_phone_number_without_a_line_is_refused() -> None:
    with pytest.raises(initial_state.InitialStateError, match="555-404 not found"):
        begin(phone="555-404")
    with pytest.raises(DatabaseError, match="doesn't fit the agent's"):
        parsed(TABLES, {"surroundings": {"phone_number": "555-404"}})


def test_a_known_user_begins_in_step_with_the_line() -> None:
    database = parsed(TABLES, {"surroundings": {"phone_number": "555-2"}})
    world = TELECOM.open(database)
    assert not world.check("assert_mobile_data_status", {"expected_status": False})
    assert database.user["surroundings"]["line_active"] is False
    assert world.changes("user") == []


def test_an_assertion_that_cannot_be_answered_raises() -> None:
    world = begin()
    with pytest.raises(ToolError, match="B9 not found"):
        world.check("assert_overdue_bill_exists", {**JANE, "overdue_bill_id": "B9"})
    with pytest.raises(ToolError, match="needs the argument"):
        world.check("assert_line_status", JANE)
    assert world.check("assert_overdue_bill_exists", {**JANE, "overdue_bill_id": "B1"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lines": [*TABLES["lines"], TABLES["lines"][0]]}, "two lines with the id 'L1'"),
        ({"bills": [{**TABLES["bills"][0], "status": "Lost"}]}, "wrong at bills.0.status"),
        ({"plans": [{**TABLES["plans"][0], "colour": 1}]}, "wrong at plans.0.colour"),
        ({"towers": []}, "wrong at towers"),
        ({"customers": 7}, "wrong at customers"),
    ],
)
def test_broken_databases_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(DatabaseError, match=reason):
        parsed({**TABLES, **change})


def test_an_episode_holds_only_what_it_changed() -> None:
    world: Any = begin()
    for name in ("check_status_bar", "check_network_status", "can_send_mms", "reboot_device"):
        user(world, name)
    changed = [change["path"] for change in world.changes("user")]
    assert changed == ["/device/network_signal_strength"]
    assert world._state.user.writes == 0, "the sync and the search write only values that differ"
    assert set(world._state.user._own) == {"device"}
    desk(world, "get_details_by_id", id="L1")
    assert world._state.agent._own == {}


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
_KNOWN = st.sampled_from(["C1", "L1", "L2", "B1", "D1", "P1", "555-1", "messaging", "sms", 1, 0.5])


@settings(max_examples=60)
@given(st.data())
def test_any_call_gets_an_answer(data: st.DataObject) -> None:
    world = begin()
    for _ in range(4):
        side = data.draw(st.sampled_from(["assistant", "user"]))
        tools = TELECOM.user_tools if side == "user" else TELECOM.tools
        tool = data.draw(st.sampled_from(list(tools)))
        names = [*tool.parameters["properties"], "other"]
        arguments = data.draw(st.dictionaries(st.sampled_from(names), _KNOWN | _ANY))
        assert isinstance(world.call(tool.name, arguments, side).content, str)
    world.changes()
    world.changes("user")
