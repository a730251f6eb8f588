"""A process that serves a weight version over NIXL, as a trainer rank or as a peer engine.

`python weights_source.py`: each line on stdin is a JSON request. {"publish": V, "nbytes": N,
"over": bool} packs one tensor of N bytes that depends on V, with `over` into the buffer of the
version before, and answers the Shard. {"fetch": WeightVersion} reads all of it as an engine's
worker does, keeps and serves it, and answers the WorkerCopy. {"hang": WeightVersion} begins to read
it and stops itself.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import torch

from sea_runtime.parallel.regions import Region
from sea_runtime.rollout.vllm_plugin.fetch import Fetcher, NixlReader
from sea_runtime.rollout.vllm_plugin.host_copies import HostCopies, HostCopy, PeerServer
from sea_runtime.transport import manifest
from sea_runtime.transport.nixl_link import NixlSource
from sea_runtime.transport.read_plan import reads_of
from sea_runtime.transport.sources import NIXL, offers, split
from sea_runtime.wire.weights import PEER, EngineCopy, Shard, WeightVersion, WorkerCopy
from sea_testing.waiting import HANG_S

BLOCKS = 8


def tensor(version: int, nbytes: int) -> torch.Tensor:
    """Bytes [BLOCKS, nbytes / BLOCKS] that tell the versions and the places apart."""
    flat = torch.arange(nbytes, dtype=torch.int32) * (2 * version + 1) >> 3
    return flat.to(torch.uint8).view(BLOCKS, -1)


def needed(version: WeightVersion) -> dict[str, list[Region]]:
    return {"t": [Region.whole(version.shards[0].blocks[0].tensor)]}


class WeightsSource:
    """The process, seen from a test; killed at the end of its `with` block."""

    def __init__(self, pod: str) -> None:
        self.pod = pod
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def publish(self, number: int, nbytes: int, *, over: bool = False) -> WeightVersion:
        request = {"publish": number, "nbytes": nbytes, "over": over}
        shard = Shard.model_validate_json(self._ask(request))
        return WeightVersion(
            stream="policy", version=number, attempt=1, stage="rl", step=1, shards=[shard]
        )

    def fetch(self, version: WeightVersion) -> EngineCopy:
        worker = WorkerCopy.model_validate_json(self._ask({"fetch": version.model_dump()}))
        return EngineCopy(
            pod=self.pod, version=version.version, attempt=version.attempt, workers=[worker]
        )

    def begin_and_stop(self, version: WeightVersion) -> None:
        """It begins to read the version, and hangs before the read has ended."""
        self._send({"hang": version.model_dump()})

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(HANG_S)

    def _send(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def _ask(self, request: dict[str, Any]) -> str:
        assert self.process.stdout is not None
        self._send(request)
        for line in self.process.stdout:
            if line.startswith("DONE "):
                return line.removeprefix("DONE ")
        raise AssertionError("the process ended early")


class _Trainer:
    def __init__(self) -> None:
        self.source = NixlSource("trainer")
        self.buffer = manifest.allocate(0)

    def publish(self, number: int, nbytes: int, over: bool) -> Shard:
        content = {"t": tensor(number, nbytes)}

        def rows(_: str, shape: Any) -> list[Region]:
            return [Region((row, 0), (1, shape[1])) for row in range(shape[0])]

        plan = manifest.plan(content, rows)
        if not over:
            self.buffer = manifest.allocate(manifest.total_bytes(plan))
        blocks = manifest.pack(plan, content.items(), self.buffer)
        address = self.source.register(self.buffer)
        return Shard(
            rank=0,
            nbytes=self.buffer.numel(),
            blocks=blocks,
            nixl_agent=self.source.name,
            nixl_metadata=self.source.metadata_b64(),
            nixl_address=address,
        )


class _Peer:
    def __init__(self) -> None:
        self.server, self.reader = PeerServer(), NixlReader()
        self.copies = HostCopies(self.reader.abandoned, self.reader.release)

    def fetch(self, version: WeightVersion) -> WorkerCopy:
        reads = reads_of(version, needed(version))
        readers = {PEER: self.reader, NIXL: self.reader}
        fetched = Fetcher(readers, self.copies.target).fetch(version, reads)
        copy = HostCopy(version.version, version.attempt, tuple(reads), fetched.buffers)
        self.copies.keep(copy)
        return self.server.serve(copy)

    def hang(self, version: WeightVersion) -> None:
        (read,) = reads_of(version, needed(version))
        ((source, runs),) = split(read, offers(version, version.shards[0])[0]) or []
        self.reader.begin(source, runs, self.copies.target(read))
        os.kill(os.getpid(), signal.SIGSTOP)


def main() -> None:
    trainer, peer = _Trainer(), _Peer()
    for line in sys.stdin:
        request = json.loads(line)
        if "hang" in request:
            peer.hang(WeightVersion.model_validate(request["hang"]))
            continue
        if "publish" in request:
            answer: Shard | WorkerCopy = trainer.publish(
                request["publish"], request["nbytes"], request["over"]
            )
        else:
            answer = peer.fetch(WeightVersion.model_validate(request["fetch"]))
        print("DONE " + answer.model_dump_json(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
