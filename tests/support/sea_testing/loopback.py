"""Addresses and ports on loopback that nobody else takes, now or between two starts."""

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from sea_devcluster.ports import free_ports

_own = itertools.count(100)


def address(network: int) -> str:
    """A loopback address that no parallel test session uses; `network` tells servers apart."""
    pid = os.getpid()
    return f"127.{network}.{pid // 250 % 250}.{pid % 250 + 1}"


def own_address() -> str:
    """The same, another one for each call (of the last hundred)."""
    return address(next(_own) % 100 + 100)


def port_on(host: str) -> int:
    """A free port below those that the kernel hands out to clients by itself.

    On an address of one's own it stays free while its server is down.
    """
    return free_ports((host,), 1)[0]


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections: held, so that no server can come to it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
