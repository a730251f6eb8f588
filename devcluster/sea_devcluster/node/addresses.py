"""Which address of the node's subnet a pod gets: one each, so pods keep their real ports."""

import ipaddress

from .errors import AddressesExhaustedError


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
