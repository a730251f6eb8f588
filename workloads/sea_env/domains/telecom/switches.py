"""The user's tools that switch and set: airplane mode, data, roaming, Wi-Fi, network, APN, SIM."""

from typing import Any

from pydantic import ValidationError

from sea_env.domains.base import Kind, ToolError
from sea_env.domains.environment import State
from sea_env.domains.telecom import network, phone
from sea_env.domains.telecom.handset import APNSettings, NetworkModePreference
from sea_env.domains.telecom.phone import on_off, read, with_bar, write
from sea_env.domains.telecom.tunnel import disconnect
from sea_env.domains.toolkit import tool

_NO_WIFI = {"wifi_connected": False, "wifi_ssid": None, "wifi_signal_strength": "none"}


def flip(state: State, name: str) -> bool:
    """Turns a switch over; returns what it is now."""
    now = not read(state, name)
    write(state, **{name: now})
    return now


def flip_and_search(state: State, name: str) -> bool:
    now = flip(state, name)
    network.search(state)
    return now


def flip_airplane_mode(state: State) -> bool:
    """Wi-Fi loses its network either way, the VPN its tunnel when the radios go off."""
    now = flip(state, "airplane_mode")
    if now or read(state, "wifi_enabled"):
        write(state, **_NO_WIFI)
    if now:
        disconnect(state)
    network.search(state)
    return now


@tool(Kind.WRITE)
def toggle_airplane_mode(state: State) -> str:
    """Turn airplane mode on or off; on, it ends all wireless connections."""
    now = flip_airplane_mode(state)
    return with_bar(state, f"Airplane Mode is now {on_off(now)}.")


@tool(Kind.WRITE)
def toggle_data(state: State) -> str:
    """Turn mobile data on or off."""
    now = flip_and_search(state, "data_enabled")
    return with_bar(state, f"Mobile Data is now {on_off(now)}.")


@tool(Kind.WRITE)
def toggle_roaming(state: State) -> str:
    """Turn data roaming on or off: data in other carriers' networks, as abroad."""
    now = flip_and_search(state, "roaming_enabled")
    return with_bar(state, f"Data Roaming is now {on_off(now)}.")


@tool(Kind.WRITE)
def toggle_data_saver_mode(state: State) -> str:
    """Turn data saver on or off; on, it uses less data and is slower."""
    now = flip(state, "data_saver_mode")
    return with_bar(state, f"Data Saver Mode is now {on_off(now)}.")


@tool(Kind.WRITE)
def toggle_wifi(state: State) -> str:
    """Turn Wi-Fi on or off."""
    if read(state, "airplane_mode"):
        return with_bar(state, "Cannot change Wi-Fi settings while Airplane Mode is ON.")
    now = flip(state, "wifi_enabled")
    if not now:
        write(state, **_NO_WIFI)
    return with_bar(state, f"Wi-Fi is now {on_off(now)}.")


@tool(Kind.WRITE)
def toggle_wifi_calling(state: State) -> str:
    """Turn calls over Wi-Fi on or off."""
    now = flip(state, "wifi_calling_enabled")
    return with_bar(state, f"Wi-Fi Calling is now {on_off(now)}.")


@tool(Kind.WRITE)
def set_network_mode_preference(state: State, mode: NetworkModePreference | str) -> str:
    """Choose the kind of mobile network that your phone prefers."""
    known = [one.value for one in NetworkModePreference]
    if mode not in known:
        return with_bar(
            state,
            f"Failed to set network mode: '{mode}' is not a valid option. "
            f"Please use one of: {', '.join(known)}",
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
    write(state, sim_card_missing=False)
    network.search(state)
    if phone.sim_status(state) == "missing":
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
