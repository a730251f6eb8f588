"""`make bench-batch`: a batch with experts to replay, from the coordinator to rank 0.

A ledger with one batch of `--gb` gigabytes in trajectories of a full context (32,768 tokens, 752
bytes of experts each) is served by the coordinator's own code, once piece by piece as it is, and
once read and encoded whole before the first byte leaves. Each runs in a process of its own, and
another one reads and drops the bytes. The last line is one JSON object: for `stream` and `whole`
`first_byte_s`, `seconds` and `rss_mib` (largest resident memory of the server).
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import sqlite3
import tempfile
import time
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import urllib3
from aiohttp import web
from aiohttp.test_utils import TestServer

from sea_devcluster import interrupts
from sea_runtime.coordinator.http import streamed
from sea_runtime.coordinator.ledger import trajectories
from sea_runtime.coordinator.ledger.database import Database
from sea_runtime.coordinator.ledger.fixed_batch import FixedBatch
from sea_runtime.wire.rollouts import Batch, Group

TRAJECTORY_BYTES, SAMPLES = 32_768 * (13 + 752), 8
READ_BYTES = 1 << 20
TIMEOUT_SECONDS = 600.0


def make_batch(folder: Path, nbytes: int) -> FixedBatch:
    """A ledger whose only batch has about that many bytes, and the files of its trajectories."""
    path = folder / "ledger.sqlite"
    Database(path).close()
    place = trajectories.folder_of(path)
    place.mkdir()
    groups = max(1, round(nbytes / TRAJECTORY_BYTES / SAMPLES))
    with closing(sqlite3.connect(path)) as db, db:
        for number in range(1, groups + 1):
            db.execute(
                "INSERT INTO groups (number, id, stage, kind, row_key, domain, samples, state) "
                "VALUES (?, ?, 'rl', 'Train', 'r', 'shop', ?, 'Assigned')",
                (number, f"rl-{number:06d}", SAMPLES),
            )
            for sample in range(SAMPLES):
                name = f"{number}-{sample}"
                (place / name).write_bytes(bytes(TRAJECTORY_BYTES))
                db.execute(
                    "INSERT INTO episodes (group_number, sample, seed, state, reward) "
                    "VALUES (?, ?, 0, 'Done', 1.0)",
                    (number, sample),
                )
                db.execute(
                    "INSERT INTO trajectories VALUES (?, ?, NULL, ?)", (number, sample, name)
                )
    named = [(number, f"rl-{number:06d}") for number in range(1, groups + 1)]
    return FixedBatch("rl", 1, named, 0, 1.0, 0, path)


def whole(batch: FixedBatch) -> bytes:
    """All of it in memory, encoded at once."""
    folder = trajectories.folder_of(batch.ledger)
    with batch.reading() as connection:
        found = [
            Group(
                name,
                [one.reward for one in rows],
                [one.file.read_bytes() for one in rows if one.file],
            )
            for number, name in batch.groups
            if (rows := trajectories.of_group(connection, folder, number))
        ]
    return msgspec.msgpack.encode(Batch("rl", 1, found, 0, 1.0))


def serve(batch: FixedBatch, way: str, pipe: Connection) -> None:
    """A process: serves until the other end has the bytes, then says how much memory it took."""

    async def stream(_: web.Request) -> web.StreamResponse:
        opened = await asyncio.to_thread(batch.open)
        return streamed(opened.pieces(), opened.nbytes, "application/msgpack")

    async def at_once(_: web.Request) -> web.StreamResponse:
        return web.Response(body=await asyncio.to_thread(whole, batch))

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/", stream if way == "stream" else at_once)
        async with TestServer(app) as server:
            pipe.send(str(server.make_url("/")))
            await asyncio.to_thread(pipe.recv)
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    asyncio.run(run())


def measure(batch: FixedBatch, way: str) -> dict[str, float]:
    ours, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    # Daemonic: it ends with this program, whatever ends that.
    process = spawn.Process(target=serve, args=(batch, way, theirs), daemon=True)
    process.start()
    # Else nothing would end the wait for a process that has died.
    theirs.close()
    url, began, total = ours.recv(), time.monotonic(), 0
    reply = urllib3.PoolManager().request(
        "GET", url, preload_content=False, timeout=TIMEOUT_SECONDS, retries=False
    )
    first = 0.0
    for piece in reply.stream(READ_BYTES):
        first = first or time.monotonic() - began
        total += len(piece)
    seconds = time.monotonic() - began
    ours.send("done")
    rss = ours.recv()
    process.join()
    print(
        f"{way:>7}: {total / 1e9:.2f} GB in {seconds:.2f} s, first byte after {first:.3f} s, "
        f"{rss:.0f} MiB"
    )
    return {"first_byte_s": round(first, 3), "seconds": round(seconds, 2), "rss_mib": round(rss)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=2.1)
    size = parser.parse_args().gb * 1e9
    interrupts.raise_on_signals()  # the folder has gigabytes, and the server is a child
    with tempfile.TemporaryDirectory(prefix="batch-") as folder:
        batch = make_batch(Path(folder), int(size))
        # The stream first: the other way finds the files in the page cache.
        print(json.dumps({way: measure(batch, way) for way in ("stream", "whole")}))


if __name__ == "__main__":
    main()
