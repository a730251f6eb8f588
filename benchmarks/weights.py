"""`make bench-weights`: what a weight version costs between trainer and engines.

- `transport_ratio`: bytes per second of a worker's read, in its runs, against one read of as many
  bytes in one piece, over NIXL between two processes, alternating in one run (goal: at least 0.85);
- `bytes_ratio`: bytes that a TP 8 worker of Qwen3-235B-A22B moves against what it computes with
  (goal: at most 1.02);
- `plan_235b_s`: seconds to plan all reads of 4 engines of TP 8 from 48 trainer ranks (TP 4 x PP 12
  x EP 4), from shapes alone (goal: at most 10), with runs and bytes per link;
- `engines_s`: seconds until 1, 4, 16 and 64 engines have the version of that plan, with the relay
  and from the trainer alone, simulated with the coordinator's own relay (goal: sub-linear);
- `delta_ratio`: bytes of a lossless bf16 delta against XOR of all bytes with zstd-1, by the percent
  of elements that a step changed (goals: at most 0.50 at 4 %, nowhere above 1.05);
- `delta_gb_s`: GB of the model per second and core that are encoded and applied, of processor time
  (goal: at least 2 at 4 %), next to what memcpy moves in the same run.

- `pause_ratio`: CPU seconds of an update's pause against a full reload from safetensors, in one
  vLLM engine on the CPU (goal: at most 0.10).

What a worker takes of each tensor is said here by `engine_blocks` (vLLM 0.32's cuts); an engine
records it from its own loaders.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import weights_deltas
import weights_fleet

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_devcluster import interrupts
from sea_runtime.parallel import hf_config, parallel_layout, publications, weight_map
from sea_runtime.parallel.engine_blocks import EngineCuts, blocks
from sea_runtime.parallel.regions import Region, Run
from sea_runtime.rollout import engine_args
from sea_runtime.transport import manifest
from sea_runtime.transport.nixl_link import NixlSink, NixlSource
from sea_runtime.transport.read_plan import ShardRead, reads_of
from sea_runtime.wire.weights import Shard, WeightVersion

WORKERS = 8
ENGINES = 4
LINK_BYTES_PER_S = 50e9
"""A 400 Gb/s card."""
READ_MIB = 256
ROUNDS = 7
TIMEOUT_S = 300.0
PAUSE_RESULT = '{"pause_ratio"'
"""Beginning of the last line that `weights_pause.py` prints itself."""
QWEN3_235B = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "hidden_size": 4096,
    "num_hidden_layers": 94,
    "num_attention_heads": 64,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "intermediate_size": 12288,
    "moe_intermediate_size": 1536,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "vocab_size": 151936,
    "rope_theta": 5000000,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "max_position_embeddings": 40960,
}


def published(shape: hf_config.ModelShape, cuts: EngineCuts) -> WeightVersion:
    """A version of the reference's layout, without bytes."""
    requested = TrainerParallelism(tensor=4, pipeline=12, expert=4)
    layout = parallel_layout.plan(requested, shape, 48)
    shapes = weight_map.tensor_shapes(shape)
    shards = []
    for rank, names in publications.names_by_rank(shape, layout).items():
        tensors = {
            name: torch.empty(shapes[name], dtype=torch.bfloat16, device="meta") for name in names
        }
        found = manifest.plan(tensors, lambda name, one: blocks(name, one, cuts))
        shards.append(Shard(rank=rank, nbytes=manifest.total_bytes(found), blocks=found))
    return WeightVersion(stream="policy", version=1, attempt=1, stage="rl", step=1, shards=shards)


def needed_by(
    worker: int, shape: hf_config.ModelShape, cuts: EngineCuts
) -> dict[str, list[Region]]:
    """What one of an engine's workers takes: its part of each tensor."""
    found = {}
    for name, one in weight_map.tensor_shapes(shape).items():
        parts = blocks(name, one, cuts)
        found[name] = [parts[worker * len(parts) // cuts.tensor]]
    return found


def plan_row() -> dict[str, Any]:
    shape = hf_config.parse(json.dumps(QWEN3_235B))
    cuts = EngineCuts(WORKERS, kv_heads=shape.kv_heads)
    version = published(shape, cuts)
    needs = [needed_by(worker, shape, cuts) for worker in range(WORKERS)]
    started = time.process_time()
    # The engines are alike: a worker's plan is that of its namesakes.
    plans = [reads_of(version, need) for need in needs]
    seconds = time.process_time() - started
    ideal = [sum(2 * one.elements for parts in need.values() for one in parts) for need in needs]
    moved = [sum(run.nbytes for read in plan for run in read.runs) for plan in plans]
    print_plan(plans, moved, seconds)
    ratio = max(a / b for a, b in zip(moved, ideal, strict=True))
    engines = weights_fleet.rows(WORKERS, len(version.shards), sum(moved))
    return {
        "bytes_ratio": round(ratio, 4),
        "plan_235b_s": round(seconds, 2),
        "engines_s": engines,
    }


def print_plan(plans: list[list[ShardRead]], moved: list[int], seconds: float) -> None:
    links = [sum(run.nbytes for run in read.runs) for plan in plans for read in plan]
    runs = [sum(len(read.runs) for read in plan) for plan in plans]
    egress: dict[int, int] = {}
    for plan in plans:
        for read in plan:
            size = ENGINES * sum(run.nbytes for run in read.runs)
            egress[read.rank] = egress.get(read.rank, 0) + size
    print(f"Qwen3-235B-A22B, 48 trainer ranks to {ENGINES} engines of TP {WORKERS}")
    print(f"  planned in                  {seconds:8.2f} s of CPU")
    print(f"  a worker reads              {max(moved) / 1e9:8.2f} GB in {max(runs):,} runs")
    print(f"  largest link                {max(links) / 1e9:8.2f} GB, {len(plans[0])} sources")
    print(f"  a trainer rank sends        {max(egress.values()) / 1e9:8.2f} GB at most")
    print(f"  at 50 GB/s a GPU, calculated{max(moved) / LINK_BYTES_PER_S:8.2f} s")


@contextmanager
def source(size: int) -> Iterator[tuple[str, str, int]]:
    """Another process that serves a buffer: metadata, name, address."""
    program = [sys.executable, __file__, "--serve", str(size)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        try:
            for line in one.stdout:
                if line.startswith("READY "):
                    metadata, name, address = json.loads(line.removeprefix("READY "))
                    yield metadata, name, address
                    return
            raise RuntimeError("The serving process ended early: see its output above.")
        finally:
            one.kill()


def serve(size: int) -> None:
    link = NixlSource("source")
    buffer = manifest.allocate(size)
    address = link.register(buffer)
    print("READY " + json.dumps([link.metadata_b64(), link.name, address]), flush=True)
    sys.stdin.read()


def transport_row() -> dict[str, float]:
    """The largest read of the plan's kind: 1.5 MiB blocks of down_proj with gaps between them."""
    block = 4096 * 192 * 2
    count = READ_MIB * (1 << 20) // block
    size = 2 * count * block
    scattered = [Run(2 * index * block, index * block, block) for index in range(count)]
    whole = [Run(0, 0, count * block)]
    out = manifest.allocate(count * block)
    rates: dict[str, list[float]] = {"runs": [], "whole": []}
    sink = NixlSink("bench")
    with source(size) as (metadata, name, address):
        for index in range(ROUNDS + 1):
            for kind, runs in (("runs", scattered), ("whole", whole)):
                started = time.monotonic()
                sink.finish(sink.begin(metadata, name, address, runs, out, TIMEOUT_S))
                if index:  # the first of each connects and registers
                    rates[kind].append(count * block / (time.monotonic() - started))
    sink.close()
    found = {kind: statistics.median(one) for kind, one in rates.items()}
    print(f"NIXL between two processes, {READ_MIB} MiB, median of {ROUNDS}")
    print(f"  in {count} runs with gaps    {found['runs'] / 1e9:8.2f} GB/s")
    print(f"  in one piece                {found['whole'] / 1e9:8.2f} GB/s")
    return {"transport_ratio": round(found["runs"] / found["whole"], 3)}


def pause_row() -> dict[str, Any]:
    """In a process of its own, with the variables of an engine on the CPU."""
    program = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("weights_pause.py"))]
    with tempfile.TemporaryDirectory() as folder:
        place = engine_args.Placement(Path(folder), "127.0.0.1", gpus=0)
        variables = engine_args.environment(os.environ, place)
        done = subprocess.run(
            [*program, folder], env=variables, stdout=subprocess.PIPE, text=True, check=True
        )
    # vLLM logs to the same output, also after the result.
    lines = done.stdout.splitlines()
    last = max(at for at, line in enumerate(lines) if line.startswith(PAUSE_RESULT))
    print(*lines[last - 3 : last], sep="\n")
    return dict(json.loads(lines[last]))


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "transport": transport_row,
    "plan": plan_row,
    "pause": pause_row,
    "deltas": weights_deltas.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    given = parser.parse_args()
    interrupts.raise_on_signals()  # what it starts would go on
    if given.serve:
        serve(given.serve)
        return
    found: dict[str, Any] = {}
    for name in given.only:
        found |= PARTS[name]()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
