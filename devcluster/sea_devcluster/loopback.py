"""Does loopback carry anything? Everything of a devcluster talks over it.

In a fresh network namespace the interface is down: listening works there, connecting doesn't.
"""

import socket

ADDRESS = "127.60.0.1"
"""Any but the first: clusters and pods have addresses all over 127.0.0.0/8."""
_SECONDS = 5.0


def error() -> str:
    """What a connection from here to here said; empty if it was made."""
    try:
        with socket.create_server((ADDRESS, 0)) as server:
            socket.create_connection(server.getsockname(), _SECONDS).close()
    except OSError as failed:
        return failed.strerror or str(failed)
    return ""
