"""What all pod workers of one agent share: configuration, API client, addresses, names, Events."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import aiohttp

from sea_devcluster.errors import DevclusterError

from .api import ApiClient
from .config import ImageConfig, NodeConfig
from .events import EventRecorder
from .exit_status import BackoffPolicy
from .hosts_files import HostsKeeper
from .references import References


class UnknownImageError(DevclusterError):
    """A pod names an image that this devcluster doesn't map to programs."""


class AddressesExhaustedError(DevclusterError):
    """Every address of the pod subnet is taken."""


class AddressPool:
    """Addresses .2 to .254 of a /24 (or what a smaller subnet has), handed out round robin.

    Round robin, so that a new pod doesn't inherit the connections of the one that just ended.
    """

    def __init__(self, subnet: str) -> None:
        self._subnet = subnet
        # .1 is left for the node itself, should its address be in the same subnet.
        self._addresses = [str(host) for host in ipaddress.ip_network(subnet).hosts()][1:]
        self._owners: dict[str, str] = {}
        self._next = 0

    def claim(self, owner: str, wanted: str | None = None) -> str:
        """An address for `owner` (a pod's UID): `wanted` where free, else the next one."""
        for address in [wanted] if wanted in self._addresses else []:
            if self._owners.get(address, owner) == owner:
                self._owners[address] = owner
                return address
        for offset in range(len(self._addresses)):
            index = (self._next + offset) % len(self._addresses)
            if self._addresses[index] not in self._owners:
                self._next = index + 1
                self._owners[self._addresses[index]] = owner
                return self._addresses[index]
        message = (
            f"All {len(self._addresses)} pod addresses of {self._subnet} are taken: "
            "delete pods or add a node to the devcluster."
        )
        raise AddressesExhaustedError(message)

    def release(self, owner: str) -> None:
        """Give back whatever `owner` holds."""
        self._owners = {address: one for address, one in self._owners.items() if one != owner}


@dataclass(frozen=True)
class NodeContext:
    """The agent's tools, injected into everything that runs pods."""

    config: NodeConfig
    api: ApiClient
    references: References
    events: EventRecorder
    addresses: AddressPool
    names: HostsKeeper
    session: aiohttp.ClientSession
    """For HTTP probes; not the API server's."""
    bwrap: str
    now: Callable[[], datetime]

    @property
    def backoff(self) -> BackoffPolicy:
        """The configured CrashLoopBackOff."""
        config = self.config
        return BackoffPolicy(
            config.crash_backoff_start, config.crash_backoff_limit, config.crash_backoff_reset
        )

    def image(self, reference: str) -> ImageConfig:
        """What an image means here; UnknownImageError lists the ones this devcluster knows."""
        if reference in self.config.images:
            return self.config.images[reference]
        known = ", ".join(sorted(self.config.images)) or "none"
        message = (
            f"Image {reference!r} isn't known to this devcluster (known: {known}): "
            "use one of these or add it to the devcluster's image map."
        )
        raise UnknownImageError(message)
