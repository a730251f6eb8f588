"""The user's tools that change settings: switches, VPN, network mode, access point, SIM, reboot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sea_env.domains.base import Kind, Tool, ToolError
from sea_env.domains.state import State
from sea_env.domains.telecom import network, phone
from sea_env.domains.telecom.phone import on_off, read, with_bar, write
from sea_env.domains.telecom.phone_records import APNSettings, NetworkModePreference
from sea_env.domains.toolkit import parameters, tool

_NO_WIFI = {"wifi_connected": False, "wifi_ssid": None, "wifi_signal_strength": "none"}
_NO_VPN = {"vpn_connected": False, "vpn_details": None}
_VPN_SERVER = {"server_address": "192.168.1.1", "protocol": "OpenVPN"}
_SLOW_VPN = "slow vpn"
_MODES = tuple(mode.value for mode in NetworkModePreference)


def flip(state: State, field: str) -> bool:
    """Inverts a switch of the phone; returns its new value."""
    now = not read(state, field)
    phone.set_fields(state, {field: now})
    return now


def flip_and_search(state: State, field: str) -> bool:
    """As `flip`; the phone then searches for a network, which doesn't look at the field."""
    device = phone.device(state)
    now = not device[field]
    found = network.found(device, phone.surroundings(state))
    phone.set_fields(state, {field: now, **found})
    return now


def flip_airplane_mode(state: State, field: str = "airplane_mode") -> bool:
    """As `flip_and_search`. Wi-Fi loses its network; switched on, the VPN disconnects too."""
    device = phone.device(state)
    now = not device[field]
    changed = {field: now, **(_NO_WIFI if now or device["wifi_enabled"] else {})}
    if not now:
        changed |= network.in_reach(device, phone.surroundings(state))
    else:
        changed |= network.NO_SERVICE
        changed |= _NO_VPN if device["vpn_connected"] else {}
    phone.set_fields(state, changed)
    return now


def _flip_wifi(state: State, field: str) -> bool:
    now = flip(state, field)
    if not now:
        write(state, **_NO_WIFI)
    return now


@dataclass(frozen=True)
class _Switch:
    """One switch of the phone, and the tool that flips it."""

    tool: str
    field: str
    label: str
    flip: Callable[[State, str], bool]
    description: str

    def flip_tool(self) -> Tool:
        field, flip, is_wifi = self.field, self.flip, self.field == "wifi_enabled"
        said = {on: f"{self.label} is now {on_off(on)}." for on in (False, True)}

        def run(state: State) -> str:
            if is_wifi and read(state, "airplane_mode"):
                return with_bar(state, "Cannot change Wi-Fi settings while Airplane Mode is ON.")
            return with_bar(state, said[flip(state, field)])

        return Tool(self.tool, Kind.WRITE, self.description, parameters(run), run)


SWITCHES = {
    switch.tool: switch.flip_tool()
    for switch in (
        _Switch(
            "toggle_airplane_mode",
            "airplane_mode",
            "Airplane Mode",
            flip_airplane_mode,
            "Turn airplane mode on or off; on, it ends all wireless connections.",
        ),
        _Switch(
            "toggle_data",
            "data_enabled",
            "Mobile Data",
            flip_and_search,
            "Turn mobile data on or off.",
        ),
        _Switch(
            "toggle_roaming",
            "roaming_enabled",
            "Data Roaming",
            flip_and_search,
            "Turn data roaming on or off: data in other carriers' networks, as abroad.",
        ),
        _Switch(
            "toggle_data_saver_mode",
            "data_saver_mode",
            "Data Saver Mode",
            flip,
            "Turn data saver on or off; on, it uses less data and is slower.",
        ),
        _Switch("toggle_wifi", "wifi_enabled", "Wi-Fi", _flip_wifi, "Turn Wi-Fi on or off."),
        _Switch(
            "toggle_wifi_calling",
            "wifi_calling_enabled",
            "Wi-Fi Calling",
            flip,
            "Turn calls over Wi-Fi on or off.",
        ),
    )
}
"""The tools that flip a switch, by name."""


def connect_to_vpn(state: State) -> None:
    """Connects to the VPN, whose server is slow if `break_vpn` made it so."""
    level = "poor" if state.session.get(_SLOW_VPN) else "excellent"
    write(state, vpn_connected=True, vpn_details={**_VPN_SERVER, "server_performance": level})


def disconnect_from_vpn(state: State) -> bool:
    """Disconnects the VPN; returns whether it was connected."""
    if not read(state, "vpn_connected"):
        return False
    phone.set_fields(state, _NO_VPN)
    return True


def slow_down_vpn(state: State) -> None:
    """Makes the VPN's server slow and connects to it; it stays slow after reconnecting.

    (In tau2-bench it stays slow for all later episodes of the process.)
    """
    state.session[_SLOW_VPN] = True
    if not read(state, "vpn_connected"):
        connect_to_vpn(state)
    details = read(state, "vpn_details") or _VPN_SERVER
    write(state, vpn_details={**details, "server_performance": "poor"})


@tool(Kind.WRITE)
def connect_vpn(state: State) -> str:
    """Connect to your VPN."""
    if read(state, "vpn_connected"):
        return "VPN already connected."
    connect_to_vpn(state)
    return with_bar(state, "VPN connected successfully.")


@tool(Kind.WRITE)
def disconnect_vpn(state: State) -> str:
    """End the connection to your VPN."""
    ended = disconnect_from_vpn(state)
    text = "VPN disconnected successfully." if ended else "No active VPN connection to disconnect."
    return with_bar(state, text)


@tool(Kind.WRITE)
def set_network_mode_preference(state: State, mode: NetworkModePreference | str) -> str:
    """Choose the kind of mobile network that your phone prefers."""
    if mode not in _MODES:
        return with_bar(
            state,
            f"Failed to set network mode: '{mode}' is not a valid option. "
            f"Please use one of: {', '.join(_MODES)}",
        )
    write(state, network_mode_preference=str(mode))
    network.search(state)
    return with_bar(state, f"Preferred Network Mode set to: {mode}")


@tool(Kind.WRITE)
def set_apn_settings(state: State, apn_settings: APNSettings | dict[str, Any]) -> str:
    """Set the access point that your phone reaches the mobile internet with."""
    try:
        apn = APNSettings.model_validate(apn_settings).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ToolError(f"apn_settings.{place}: {first['msg']}") from error
    write(state, active_apn_settings=apn)
    network.search(state)
    return with_bar(state, f"APN settings set to: {apn['apn_name']}")


@tool(Kind.WRITE)
def reset_apn_settings(state: State) -> str:
    """Have the access point settings reset to the carrier's at the next reboot."""
    write(
        state, active_apn_settings={**read(state, "active_apn_settings"), "reset_at_reboot": True}
    )
    network.search(state)
    return with_bar(state, "APN settings will reset at reboot.")


@tool(Kind.WRITE)
def reseat_sim_card(state: State) -> str:
    """Take your SIM card out and put it back in."""
    if read(state, "sim_card_missing"):
        write(state, sim_card_missing=False)
    network.search(state)
    if phone.sim_status(phone.device(state)) == "missing":
        raise ToolError("The SIM card is still missing")
    return with_bar(state, "SIM card re-seated successfully.")


@tool(Kind.WRITE)
def reboot_device(state: State) -> str:
    """Restart your phone."""
    lines = ["Restarting network services..."]
    if read(state, "active_apn_settings")["reset_at_reboot"]:
        lines.insert(0, "Resetting APN settings...")
        write(state, active_apn_settings=APNSettings().model_dump(mode="json"))
    network.search(state)
    return with_bar(state, "\n".join(lines))
