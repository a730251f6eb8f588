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
from .hosts_files import HostsFiles
from .references import References


class UnknownImageError(DevclusterError):
    """A pod names an image that this devcluster doesn't map to programs."""


class AddressesExhaustedError(DevclusterError):
    """Every address of the pod subnet is taken."""


class AddressPool:
    """Pod addresses: .2 to .254 of a /24, or all but the first of a smaller subnet.

    Assigned round robin, so that a new pod doesn't inherit the connections of one that just ended.
    """

    def __init__(self, subnet: str) -> None:
        self._subnet = subnet
        # .1 is reserved for the node itself, whose address may be in the same subnet.
        self._addresses = [str(host) for host in ipaddress.ip_network(subnet).hosts()][1:]
        self._owners: dict[str, str] = {}
        self._next = 0

    def claim(self, owner: str, wanted: str | None = None) -> str:
        """An address for `owner` (a pod's UID): `wanted` if that is free, else the next one."""
        # Only from this node's subnet: the status may be of an agent with another one.
        for address in [wanted] if wanted in self._addresses else []:
            if self._owners.get(address, owner) == owner:
                self._owners[address] = owner
                return address
        for offset in range(len(self._addresses)):
            index = (self._next + offset) % len(self._addresses)
            if self._addresses[index] not in self._owners:
                # Continues behind it: an address is reused as late as possible.
                self._next = index + 1
                self._owners[self._addresses[index]] = owner
                return self._addresses[index]
        message = (
            f"All {len(self._addresses)} pod addresses of {self._subnet} are taken: "
            "delete pods or add a node to the devcluster."
        )
        raise AddressesExhaustedError(message)

    def release(self, owner: str) -> None:
        """Releases the address of `owner`, if it has one."""
        self._owners = {address: one for address, one in self._owners.items() if one != owner}


@dataclass(frozen=True)
class NodeContext:
    """The agent's shared objects, injected into everything that runs pods."""

    config: NodeConfig
    api: ApiClient
    references: References
    events: EventRecorder
    addresses: AddressPool
    names: HostsFiles
    session: aiohttp.ClientSession
    """For HTTP probes, not for the API server."""
    bwrap: str
    now: Callable[[], datetime]

    @property
    def backoff(self) -> BackoffPolicy:
        """The configured restart back-off."""
        config = self.config
        return BackoffPolicy(
            config.crash_backoff_start, config.crash_backoff_limit, config.crash_backoff_reset
        )

    def image(self, reference: str) -> ImageConfig:
        """The programs that an image stands for.

        Raises:
            UnknownImageError: No such image; lists those that this devcluster knows.
        """
        if reference in self.config.images:
            return self.config.images[reference]
        known = ", ".join(sorted(self.config.images)) or "none"
        message = (
            f"Image {reference!r} isn't known to this devcluster (known: {known}): "
            "use one of these or add it to the devcluster's image map."
        )
        raise UnknownImageError(message)
