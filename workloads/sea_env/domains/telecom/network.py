"""The mobile network as the phone sees it: service, working data, speed, picture messages."""

from collections.abc import Mapping
from typing import Any

from sea_env.domains.state import State
from sea_env.domains.telecom import phone

Fields = Mapping[str, Any]

_PREFERRED = {"4g_5g_preferred": "5G", "4g_only": "4G", "3g_only": "3G", "2g_only": "2G"}
_MBPS = {"2G": (0.1, 0.4), "3G": (1.0, 5.0), "4G": (10.0, 100.0), "5G": (50.0, 500.0)}
NO_SERVICE = {
    "network_connection_status": "no_service",
    "network_technology_connected": "none",
    "network_signal_strength": "none",
}
_SHARE = {"none": 0.0, "poor": 0.2, "fair": 0.5, "good": 0.8, "excellent": 1.0}
"""Fraction of the technology's speed at a signal strength."""
_POOR_VPN, _DATA_SAVER = 0.1, 0.2
_GRADES = ((1, "Very Poor"), (5, "Poor"), (25, "Fair"), (100, "Good"))
"""Upper limit in Mbps of each grade; from the last limit on the grade is Excellent."""


def search(state: State) -> None:
    """Lets the phone search for a network again."""
    phone.set_fields(state, found(phone.device(state), phone.surroundings(state)))


def found(device: Fields, around: Fields) -> dict[str, Any]:
    """The fields of the phone that a search sets, and their values."""
    return NO_SERVICE if device["airplane_mode"] else in_reach(device, around)


def in_reach(device: Fields, around: Fields) -> dict[str, Any]:
    """As `found`, for a phone whose airplane mode is off."""
    if (
        device["sim_card_missing"]
        or device["sim_card_status"] != "active"
        or device["active_apn_settings"]["apn_name"] == "broken"
        or not around["line_active"]
    ):
        return NO_SERVICE
    signals = around["signal_strength"]
    technology = _PREFERRED[device["network_mode_preference"]]
    if technology == "5G" and signals.get("5G", "none") == "none":
        technology = "4G"
    return {
        "network_connection_status": "connected",
        "network_technology_connected": technology,
        "network_signal_strength": signals.get(technology, "none"),
    }


def data_works(state: State) -> bool:
    """Whether mobile data works."""
    device, around = phone.device(state), phone.surroundings(state)
    if device["airplane_mode"] or device["network_signal_strength"] == "none":
        return False
    if device["network_connection_status"] == "no_service":
        return False
    if around["is_abroad"] and not (device["roaming_enabled"] and around["roaming_allowed"]):
        return False
    return bool(device["data_enabled"] and not around["mobile_data_usage_exceeded"])


def speed(state: State) -> tuple[float, str] | None:
    """Mbps, rounded to two digits, and grade; None without a connection."""
    if not data_works(state):
        return None
    device = phone.device(state)
    low, high = _MBPS.get(device["network_technology_connected"], (0.0, 0.0))
    share = _SHARE[device["network_signal_strength"]]
    mbps = round((low + high) / 2.0 * share * _slowed(device), 2)
    return mbps, next((grade for below, grade in _GRADES if mbps < below), "Excellent")


def _slowed(device: Fields) -> float:
    vpn = device["vpn_details"]
    poor = device["vpn_connected"] and vpn and vpn["server_performance"] == "poor"
    factor = _POOR_VPN if poor else 1.0
    return factor * _DATA_SAVER if device["data_saver_mode"] else factor


def sends_mms(state: State) -> bool:
    """Whether the messaging app can send picture messages."""
    device = phone.device(state)
    if not data_works(state) or device["network_technology_connected"] == "2G":
        return False
    # As in tau2-bench: the carrier doesn't accept picture messages over Wi-Fi calling.
    if device["wifi_calling_enabled"] and device["wifi_calling_mms_over_wifi"]:
        return False
    if device["active_apn_settings"]["mmsc_url"] is None:
        return False
    app = device["app_statuses"].get("messaging")
    return bool(app and app["permissions"]["storage"] and app["permissions"]["sms"])
