"""Free TCP ports on loopback.

A port that was free a moment ago may be taken when the component binds it. Nothing can prevent
that, so `retry_taken_ports` starts a component again with other ports if it reports a taken one.
Ports are below the kernel's range for outgoing connections, so that a client's socket does not take
one by chance.
"""

import logging
import random
import socket
from collections.abc import Callable, Iterable

from sea_devcluster.errors import PortTakenError, StartError

log = logging.getLogger(__name__)

MAX_START_ATTEMPTS = 4
# Above the well-known services, below 32768, where the range for outgoing connections starts.
_LOWEST, _HIGHEST = 20_000, 32_000
ADDRESS_TAKEN = "address already in use"
"""What each of our components logs when its port is taken."""


def is_free(address: str, port: int) -> bool:
    """True if no program listens on `address:port` or on the wildcard address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: connections in TIME_WAIT don't count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            # On Linux two sockets with SO_REUSEADDR may bind one port; listening fails if another
            # listens.
            probe.listen(1)
        except OSError:
            return False
    return True


def require_free(name: str, pairs: Iterable[tuple[str, int]]) -> None:
    """Checks before a component starts: the program that holds its port would answer instead.

    Raises:
        PortTakenError: A port is taken.
    """
    for address, port in pairs:
        if not is_free(address, port):
            raise PortTakenError(
                f"{name} cannot listen on {address}:{port}, {ADDRESS_TAKEN}; stop the program "
                "that holds it (`ss -ltnp` names it), or take the cluster down and up again for "
                "new ports."
            )


def free_ports(
    addresses: tuple[str, ...], count: int, choose: random.Random | None = None
) -> list[int]:
    """`count` different ports that are free on all `addresses` now.

    Raises:
        StartError: Too few ports are free.
    """
    # Random per process: two clusters that start together must not try the same sequence.
    source = choose or random.SystemRandom()
    found: list[int] = []
    for _ in range(200 + 20 * count):
        port = source.randrange(_LOWEST, _HIGHEST)
        if port not in found and all(is_free(address, port) for address in addresses):
            found.append(port)
        if len(found) == count:
            return found
    where = " and ".join(addresses)
    raise StartError(
        f"Fewer than {count} of the ports {_LOWEST}-{_HIGHEST} are free on {where}; "
        "stop the programs that hold them (`ss -ltnp` lists them)."
    )


def retry_taken_ports(
    start: Callable[[], object], *, confirmed: Callable[[], bool], reset: Callable[[], object]
) -> None:
    """Calls `start`, again with other ports if one of them was taken in the meantime.

    Args:
        start: Chooses ports unless there are some, starts components and waits for them.
        confirmed: True once clients may know the ports, which then can't change any more.
        reset: Stops the components and forgets their ports.

    Raises:
        StartError: The last attempt failed, or an attempt failed for another reason.
    """
    for attempt in range(1, MAX_START_ATTEMPTS + 1):
        try:
            start()
        except StartError as error:
            # Clients know the ports: others would break them, and a stop would end a cluster in
            # use.
            if confirmed():
                raise
            # Also before raising: a failed start leaves nothing running.
            reset()
            if not isinstance(error, PortTakenError) or attempt == MAX_START_ATTEMPTS:
                raise
            log.info("Lost the race for a port; trying again with others.")
        else:
            return
