"""Keeps TLS connections from holding a quarter of a MiB each.

Workaround for asyncio (Python 3.11 to 3.13): each TLS connection has a read buffer of 256 KiB for
as long as it lives, written once and so resident. A burst of new jobs opens a hundred connections,
which decide the operator's memory. A TLS record has 16 KiB at most; 60 connections with buffers of
64 KiB take 7 MiB instead of 18, and a request as much CPU as before (measured).
`tests/operator/test_tls_buffers.py` fails once asyncio has no such buffer.
"""

from asyncio import sslproto

BUFFER_BYTES = 64 << 10


def install() -> None:
    """For all connections of this process that are opened from now on."""
    sslproto.SSLProtocol.max_size = BUFFER_BYTES
