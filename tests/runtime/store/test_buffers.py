"""Weight shards to and from a real S3 server: memory use, and errors on the way."""

import re
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch

from sea_devcluster.s3 import S3Server
from sea_runtime.parallel.regions import Run
from sea_runtime.rollout.vllm_plugin.store_reader import ObjectStoreReader
from sea_runtime.store import buffers
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.transport.sources import OBJECT_STORE, Source

pytestmark = pytest.mark.component
URL = "s3://things/weights/shard-0.bin"
MIB = 1 << 20


def content(size: int) -> torch.Tensor:
    """No two ranges of it are equal."""
    return torch.from_numpy(np.arange(size // 4, dtype=np.int32).view(np.uint8))


def read(store: ObjectStore, out: torch.Tensor, remote: int = 0) -> None:
    """Fills `out` with the shard's bytes from `remote` on."""
    size = out.numel()
    source = Source(OBJECT_STORE, URL, (Run(0, 0, remote + size),))
    ObjectStoreReader(lambda: store).begin(source, (Run(remote, 0, size),), out)()


def peak(work: Callable[[], None]) -> float:
    """Most MiB of Python's memory at one time; torch's own is not counted."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def test_a_shard_is_in_memory_once(store: ObjectStore) -> None:
    """Up with parts of bounded size, down straight into the buffer."""
    size = 160 * MIB
    data, out = content(size), torch.zeros(size, dtype=torch.uint8)
    assert peak(lambda: store.put_buffer(URL, data.numpy().data)) < 128
    assert peak(lambda: read(store, out)) < 16
    assert torch.equal(data, out)


def test_small_and_short_ones(store: ObjectStore) -> None:
    store.put_buffer(URL, memoryview(b"0123456789"))
    out = torch.zeros(4, dtype=torch.uint8)
    read(store, out)
    assert bytes(out.tolist()) == b"0123"
    read(store, out, remote=5)
    assert bytes(out.tolist()) == b"5678"
    with pytest.raises(OSError, match="has 10 bytes, expected at least 12"):
        read(store, torch.zeros(12, dtype=torch.uint8))


class Cutting:
    """Stands before the server, notes the ranges, and breaks off one answer at `after` bytes."""

    def __init__(self, target: str, broken: int, after: int) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._broken, self._after = broken, after
        self.ranges: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            while request := client.recv(1 << 16):
                self.ranges += re.findall(r"bytes=\d+-\d+", request.decode("latin-1"))
                server.sendall(request)
                self._answer(server, client, cut=len(self.ranges) == self._broken)

    def _answer(self, server: socket.socket, client: socket.socket, *, cut: bool) -> None:
        """One answer with a Content-Length, or its beginning."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += server.recv(1 << 16)
        header, _, body = head.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", header)
        assert found is not None
        left = int(found[1]) - len(body)
        client.sendall(head)
        sent = len(body)
        while left:
            if cut and sent > self._after:
                client.shutdown(socket.SHUT_RDWR)
                return
            piece = server.recv(min(left, 1 << 16))
            client.sendall(piece)
            left, sent = left - len(piece), sent + len(piece)

    def close(self) -> None:
        self._listener.close()


@contextmanager
def cutting(target: str, broken: int, after: int) -> Iterator[Cutting]:
    proxy = Cutting(target, broken, after)
    try:
        yield proxy
    finally:
        proxy.close()


def test_only_the_range_that_broke_off_is_read_again(
    store: ObjectStore, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffers, "RANGE", MIB)
    size = 4 * MIB
    data, out = content(size), torch.zeros(size, dtype=torch.uint8)
    store.put_buffer(URL, data.numpy().data)
    with cutting(s3.endpoint, broken=3, after=MIB // 2) as proxy:
        read(ObjectStore(proxy.url, retry_timeout=30.0), out)
    starts = [int(one.removeprefix("bytes=").split("-")[0]) // MIB for one in proxy.ranges]
    assert starts == [0, 1, 2, 2, 3]
    assert torch.equal(data, out)
