"""Reads and writes the user's phone; the status bar that most of its tools show."""

from typing import Any

from sea_env.domains.state import State

_DEVICE = "device"
_SIGNAL = {
    "none": "📵 No Signal",
    "poor": "📶¹ Poor",
    "fair": "📶² Fair",
    "good": "📶³ Good",
    "excellent": "📶⁴ Excellent",
}


def read(state: State, name: str) -> Any:
    """A field of the phone."""
    return state.user.value(_DEVICE, name)


def write(state: State, **values: Any) -> None:
    """Sets fields of the phone. Nested values are given whole: the base shares the present ones."""
    for name, value in values.items():
        state.user.set(_DEVICE, name, value)


def around(state: State, name: str) -> Any:
    """A field of the user's surroundings."""
    return state.user.value("surroundings", name)


def on_off(value: object) -> str:
    return "ON" if value else "OFF"


def yes_no(value: object) -> str:
    return "Yes" if value else "No"


def sim_status(state: State) -> str:
    """active, missing, locked_pin or locked_puk."""
    return "missing" if read(state, "sim_card_missing") else str(read(state, "sim_card_status"))


def with_bar(state: State, text: str) -> str:
    """A result followed by a line with the status bar."""
    return f"{text}\n{bar(state)}"


def bar(state: State) -> str:
    """The icons at the top of the screen."""
    shown = ["✈️ Airplane Mode"] if read(state, "airplane_mode") else _network_icons(state)
    if read(state, "wifi_enabled") and read(state, "wifi_connected"):
        ssid = read(state, "wifi_ssid")
        shown.append(f"📡 Connected to {ssid}" if ssid else "📡 Enabled")
    if read(state, "vpn_connected"):
        shown.append("🔒 VPN Connected")
    shown.append(f"🔋 {read(state, 'battery_level')}%")
    return "Status Bar: " + " | ".join(shown)


def _network_icons(state: State) -> list[str]:
    technology = read(state, "network_technology_connected")
    shown = [_SIGNAL[read(state, "network_signal_strength")]]
    if technology != "none":
        shown.append(technology)
    if technology == "none" or not read(state, "data_enabled"):
        return [*shown, "📵 Data Disabled"]
    shown.append("📱 Data Enabled")
    return [*shown, "🔽 Data Saver"] if read(state, "data_saver_mode") else shown
