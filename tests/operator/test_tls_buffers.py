"""TLS connections of the operator hold no more memory than they read with."""

import asyncio
import ssl
from asyncio import sslproto
from typing import Any

import pytest

from sea_operator.kube import tls_buffers

# How the buffer is called in each Python that the project supports.
BUFFER = "_ssl_buffer"


async def new_protocol() -> Any:
    """What asyncio makes for each TLS connection."""
    loop = asyncio.get_running_loop()
    made: Any = sslproto.SSLProtocol
    context = ssl.create_default_context()
    return made(loop, asyncio.Protocol(), context, None, server_hostname="a.example")


async def test_a_connection_has_a_small_buffer_once_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", 256 << 10)
    before = await new_protocol()
    assert len(getattr(before, BUFFER)) == 256 << 10, "asyncio has become leaner: drop tls_buffers"
    tls_buffers.install()
    after = await new_protocol()
    assert len(getattr(after, BUFFER)) == tls_buffers.BUFFER_BYTES
    assert after.get_buffer(1 << 20).nbytes == tls_buffers.BUFFER_BYTES
