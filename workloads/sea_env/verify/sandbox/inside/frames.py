"""Messages between worker and sandbox: four bytes of length, then JSON."""

import json
import os
import struct
from typing import Any

HEADER = struct.Struct(">I")


def encode(message: Any) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


def read(fd: int) -> Any:
    """The next message; None at the end of the stream."""
    header = _exactly(fd, HEADER.size)
    if header is None:
        return None
    body = _exactly(fd, HEADER.unpack(header)[0])
    return None if body is None else json.loads(body)


def write(fd: int, message: Any) -> None:
    """Blocks until everything is written."""
    send(fd, encode(message))


def send(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        # write(2) may take less than it is given; on a pipe it does once the buffer is full.
        view = view[os.write(fd, view) :]


def _exactly(fd: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        # A message of any length arrives in pieces of at most the pipe's buffer.
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
