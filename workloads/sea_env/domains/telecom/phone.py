"""Reads and writes the user's phone; the status bar that most of its tools show."""

from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sea_env.domains.state import State

_DEVICE, _SURROUNDINGS = "device", "surroundings"
_SIGNAL = {
    "none": "📵 No Signal",
    "poor": "📶¹ Poor",
    "fair": "📶² Fair",
    "good": "📶³ Good",
    "excellent": "📶⁴ Excellent",
}


def device(state: State) -> Mapping[str, Any]:
    """The phone's fields, for reading, as they are until the next write."""
    return state.user.values(_DEVICE)


def read(state: State, name: str) -> Any:
    """A field of the phone."""
    return state.user.value(_DEVICE, name)


def write(state: State, **values: Any) -> None:
    """Sets fields of the phone. Nested values are given whole: the base shares the present ones."""
    set_fields(state, values)


def set_fields(state: State, values: Mapping[str, Any]) -> None:
    """As `write`, from a mapping."""
    # Not counted: no field of the phone means anything to the company (`domain.sync_sides`).
    state.user.set(_DEVICE, values, counted=False)


def surroundings(state: State) -> Mapping[str, Any]:
    """The fields of the user's surroundings, as `device`."""
    return state.user.values(_SURROUNDINGS)


def around(state: State, name: str) -> Any:
    """A field of the user's surroundings."""
    return state.user.value(_SURROUNDINGS, name)


def write_around(state: State, **values: Any) -> None:
    """Sets fields of the user's surroundings, as `write`."""
    state.user.set(_SURROUNDINGS, values)


def on_off(value: object) -> str:
    return "ON" if value else "OFF"


def yes_no(value: object) -> str:
    return "Yes" if value else "No"


def sim_status(phone: Mapping[str, Any]) -> str:
    """active, missing, locked_pin or locked_puk."""
    return "missing" if phone["sim_card_missing"] else str(phone["sim_card_status"])


def with_bar(state: State, text: str) -> str:
    """A result followed by a line with the status bar."""
    return f"{text}\n{_bar(_shown(device(state)))}"


def bar(state: State) -> str:
    """The icons at the top of the screen."""
    return _bar(_shown(device(state)))


_shown = itemgetter(
    "airplane_mode",
    "network_signal_strength",
    "network_technology_connected",
    "data_enabled",
    "data_saver_mode",
    "wifi_enabled",
    "wifi_connected",
    "wifi_ssid",
    "vpn_connected",
    "battery_level",
)


@lru_cache(4096)  # nearly every call of a user ends with a bar, and there are few different ones
def _bar(shown: tuple[Any, ...]) -> str:
    airplane, signal, technology, data, saver, wifi, connected, ssid, vpn, battery = shown
    icons = ["✈️ Airplane Mode"] if airplane else _network_icons(signal, technology, data, saver)
    if wifi and connected:
        icons.append(f"📡 Connected to {ssid}" if ssid else "📡 Enabled")
    if vpn:
        icons.append("🔒 VPN Connected")
    icons.append(f"🔋 {battery}%")
    return "Status Bar: " + " | ".join(icons)


def _network_icons(signal: str, technology: str, data: bool, saver: bool) -> list[str]:
    icons = [_SIGNAL[signal]]
    if technology != "none":
        icons.append(technology)
    if technology == "none" or not data:
        return [*icons, "📵 Data Disabled"]
    icons.append("📱 Data Enabled")
    return [*icons, "🔽 Data Saver"] if saver else icons
