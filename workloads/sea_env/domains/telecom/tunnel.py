"""The user's VPN."""

from sea_env.domains.base import Kind
from sea_env.domains.environment import State
from sea_env.domains.telecom.phone import read, with_bar, write
from sea_env.domains.toolkit import tool

_SERVER = {"server_address": "192.168.1.1", "protocol": "OpenVPN"}
_BROKEN = "vpn broken"


def connect(state: State) -> None:
    level = "poor" if state.session.get(_BROKEN) else "excellent"
    write(state, vpn_connected=True, vpn_details={**_SERVER, "server_performance": level})


def disconnect(state: State) -> bool:
    """Whether there was a connection to end."""
    if not read(state, "vpn_connected"):
        return False
    write(state, vpn_connected=False, vpn_details=None)
    return True


def spoil(state: State) -> None:
    """Makes the VPN's server slow, and connects to it; it is as slow when connected again.

    (In tau2 it stays slow for all later episodes of the process; here an episode is its own.)
    """
    state.session[_BROKEN] = True
    if not read(state, "vpn_connected"):
        connect(state)
    details = read(state, "vpn_details") or _SERVER
    write(state, vpn_details={**details, "server_performance": "poor"})


@tool(Kind.WRITE)
def connect_vpn(state: State) -> str:
    """Connect to your VPN."""
    if read(state, "vpn_connected"):
        return "VPN already connected."
    connect(state)
    return with_bar(state, "VPN connected successfully.")


@tool(Kind.WRITE)
def disconnect_vpn(state: State) -> str:
    """End the connection to your VPN."""
    ended = disconnect(state)
    text = "VPN disconnected successfully." if ended else "No active VPN connection to disconnect."
    return with_bar(state, text)
