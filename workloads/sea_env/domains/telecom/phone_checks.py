"""The user's tools that only read the phone."""

from sea_env.domains.base import Kind
from sea_env.domains.state import State
from sea_env.domains.telecom import network, phone
from sea_env.domains.telecom.phone import on_off, read, yes_no
from sea_env.domains.toolkit import tool

_SIM = {
    "active": "Your SIM card is active and working.",
    "missing": "No SIM card detected in the phone.",
    "locked_pin": "The SIM card is locked with a PIN code.",
    "locked_puk": "The SIM card is locked with a PUK code.",
}
_ADVICE = {
    "Very Poor": "Connection is very slow. Basic web browsing might be difficult.",
    "Poor": "Connection is slow. Web browsing may be sluggish, streaming difficult.",
    "Fair": "Connection is okay for web browsing and some standard definition streaming.",
    "Good": "Connection is good for most activities, including HD streaming.",
    "Excellent": "Connection is very fast.",
}


@tool(Kind.READ)
def check_status_bar(state: State) -> str:
    """Look at the icons at the top of your screen: signal, mobile data, Wi-Fi, battery."""
    return phone.bar(state)


@tool(Kind.READ)
def check_network_status(state: State) -> str:
    """Look up your phone's connections: airplane mode, SIM, signal, mobile data, roaming, Wi-Fi."""
    device = phone.device(state)
    ssid = f"\nConnected Wi-Fi Network: {device['wifi_ssid']}" if device["wifi_connected"] else ""
    return (
        f"Airplane Mode: {on_off(device['airplane_mode'])}\n"
        f"SIM Card Status: {phone.sim_status(device)}\n"
        f"Cellular Connection: {device['network_connection_status']}\n"
        f"Cellular Signal: {device['network_signal_strength']}\n"
        f"Cellular Network Type: {device['network_technology_connected']}\n"
        f"Mobile Data Enabled: {yes_no(device['data_enabled'])}\n"
        f"Data Roaming Enabled: {yes_no(device['roaming_enabled'])}\n"
        f"Wi-Fi Radio: {on_off(device['wifi_enabled'])}\n"
        f"Wi-Fi Connected: {yes_no(device['wifi_connected'])}{ssid}"
    )


@tool(Kind.READ)
def check_network_mode_preference(state: State) -> str:
    """Look up which kind of mobile network your phone prefers."""
    return f"Network Mode Preference: {read(state, 'network_mode_preference')}"


@tool(Kind.READ)
def run_speed_test(state: State) -> str:
    """Measure the download speed of your internet connection."""
    found = network.speed(state)
    if found is None:
        return "Speed test failed: No Connection."
    mbps, grade = found
    return f"Speed Test Result: {mbps:.2f} Mbps ({grade}). {_ADVICE[grade]}"


@tool(Kind.READ)
def check_sim_status(state: State) -> str:
    """See whether your SIM card works, is missing, or is locked."""
    return _SIM[phone.sim_status(phone.device(state))]


@tool(Kind.READ)
def check_data_restriction_status(state: State) -> str:
    """See whether your phone limits its use of data."""
    if read(state, "data_saver_mode"):
        return "Data Saver mode is ON (limits data usage)."
    return "Data Saver mode is OFF."


@tool(Kind.READ)
def check_apn_settings(state: State) -> str:
    """Look up the access point settings that your phone reaches the mobile internet with."""
    apn = read(state, "active_apn_settings")
    return (
        f"Current APN Name: {apn['apn_name'] or 'Not Set'}\n"
        f"MMSC URL (for picture messages): {apn['mmsc_url'] or 'Not Set'}\n"
        "(These are technical settings, usually best left unchanged.)"
    )


@tool(Kind.READ)
def check_wifi_status(state: State) -> str:
    """See whether Wi-Fi is on, and what network it is connected to."""
    if not read(state, "wifi_enabled"):
        return "Wi-Fi is turned OFF."
    if not read(state, "wifi_connected"):
        return "Wi-Fi is ON but not connected to any network."
    return (
        f"Wi-Fi is ON and connected to '{read(state, 'wifi_ssid')}'. "
        f"Signal strength: {read(state, 'wifi_signal_strength')}."
    )


@tool(Kind.READ)
def check_wifi_calling_status(state: State) -> str:
    """See whether your phone makes calls over Wi-Fi."""
    return f"Wi-Fi Calling is currently turned {on_off(read(state, 'wifi_calling_enabled'))}."


@tool(Kind.READ)
def check_vpn_status(state: State) -> str:
    """See whether your phone uses a VPN, and which."""
    if read(state, "vpn_connected"):
        details = read(state, "vpn_details")
        if not details:
            return "VPN is ON and connected (no specific details available)."
        return f"VPN is ON and connected. Details: {_tau2_repr(details)}"
    if read(state, "vpn_enabled_setting"):
        return "VPN is turned ON in settings, but currently not connected."
    return "VPN is turned OFF."


def _tau2_repr(details: dict[str, str | None]) -> str:
    """tau2-bench shows the repr of its own Python object here."""
    level = str(details["server_performance"])
    return (
        f"{{'server_address': {details['server_address']!r}, 'protocol': {details['protocol']!r}, "
        f"'server_performance': <PerformanceLevel.{level.upper()}: {level!r}>}}"
    )


@tool(Kind.READ)
def can_send_mms(state: State) -> str:
    """See whether your messaging app can send picture messages (MMS)."""
    return (
        f"Your messaging app {'can' if network.sends_mms(state) else 'cannot'} send MMS messages."
    )


@tool(Kind.READ)
def check_payment_request(state: State) -> str:
    """See whether the company has asked you to pay a bill."""
    request = phone.around(state, "payment_request")
    if request is None:
        return "No payment request has been made."
    return (
        f"You have a payment request for bill {request['bill_id']} of {request['amount_due']} USD."
    )
