"""A checkpoint next to training and next to a raw upload: `make bench-checkpoint`. CPU only.

One rank of a real model with its optimizer, a real S3 server, the trainer's own code. Each round
measures, one after another, on the same server and in the same state of the machine: how long
training waits for a save (the copy), a blocking save of the same state (copy and upload), and a raw
parallel multipart upload of the same bytes by boto3, eight `upload_part` at a time.

Prints a row per round and, last, one JSON object: `stall_ratio` (wait / blocking save, goal at most
0.05), `upload_ratio` (rate of the upload / rate of the raw one, goal at least 0.85), medians over
the rounds, and `state_gib`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}

import torch
import torch.distributed as dist

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_devcluster import interrupts
from sea_devcluster.s3 import S3Server
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.store.multipart import CONCURRENCY, PART
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer import megatron_workarounds, model, process_groups
from sea_runtime.trainer.checkpoint import state as states
from sea_runtime.trainer.checkpoint.staging import StagedSave
from sea_runtime.trainer.checkpoint.state import RankState
from sea_runtime.trainer.optimizer import Optimizer

BUCKET = "checkpoints"


def rank_state(hidden: int, layers: int) -> RankState:
    """State of a dense model on one rank; its optimizer has made a step."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    megatron_workarounds.apply(cuda=False, te=False)
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": hidden // 64,
        "num_key_value_heads": hidden // 128,
        "head_dim": 64,
        "intermediate_size": 4 * hidden,
        "vocab_size": 16_000,
        "tie_word_embeddings": False,
    }
    shape = hf_config.parse(json.dumps(config))
    # In memory: Megatron's groups use it later, after a file for one call would have gone.
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    layout = parallel_layout.plan(TrainerParallelism(), shape, 1)
    process_groups.build_model_parallel_groups(layout, 60.0)
    built = model.build(shape, layout.place(0), torch.float32, 64)
    with torch.no_grad():
        for parameter in built.gpt.parameters():
            parameter.normal_(std=0.02)
    optimizer = Optimizer(built, 1e-4)
    states.prepare_load(optimizer)
    return RankState(built, optimizer)


def raw_upload(client: Any, key: str, data: memoryview) -> float:
    """Seconds for the bytes in `CONCURRENCY` parts at a time, without checksums or checks."""
    started = time.monotonic()
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]

    def part(number: int) -> dict[str, Any]:
        body = bytes(data[number * PART : (number + 1) * PART])
        found = client.upload_part(
            Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number + 1, Body=body
        )
        return {"ETag": found["ETag"], "PartNumber": number + 1}

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        parts = list(pool.map(part, range(-(-len(data) // PART))))
    client.complete_multipart_upload(
        Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    return time.monotonic() - started


Row = dict[str, float]


def measure(state: RankState, buffer: torch.Tensor, server: S3Server, number: int) -> Row:
    """One round; the order of the two uploads alternates."""
    store, client = ObjectStore(), server.client(timeout=120.0)
    data = buffer.numpy().data
    # The bytes of every round differ, as those of a training do.
    buffer.view(torch.float32)[:: 1 << 16] += 1.0
    started = time.monotonic()
    staged = StagedSave(state, buffer)
    wait = time.monotonic() - started
    raw = raw_upload(client, f"raw-{number}", data) if number % 2 else 0.0
    started, cpu = time.monotonic(), time.process_time()
    staged.upload(store, f"s3://{BUCKET}/state-{number}")
    upload, cpu = time.monotonic() - started, time.process_time() - cpu
    raw = raw or raw_upload(client, f"raw-{number}", data)
    for key in (f"raw-{number}", f"state-{number}"):
        client.delete_object(Bucket=BUCKET, Key=key)
    return {"wait_s": wait, "upload_s": upload, "raw_s": raw, "cpu_s": cpu}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    # What a time-out or a person ends must not leave an S3 server behind.
    interrupts.raise_on_signals()
    state = rank_state(given.hidden, given.layers)
    # Touched, as `Staging` has it.
    buffer = torch.zeros(state.nbytes, dtype=torch.uint8)
    print(f"{state.nbytes / 2**30:.2f} GiB of state, parts of {PART >> 20} MiB")
    rows = []
    with tempfile.TemporaryDirectory(prefix="sea-bench-") as folder, S3Server(Path(folder)) as s3:
        s3.create_bucket(BUCKET)
        os.environ.update(s3.environment())
        for number in range(given.rounds):
            row = measure(state, buffer, s3, number)
            rows.append(row)
            print("  ".join(f"{name} {value:7.2f}" for name, value in row.items()), flush=True)
    ratios = {
        "stall_ratio": [row["wait_s"] / (row["wait_s"] + row["upload_s"]) for row in rows],
        "upload_ratio": [row["raw_s"] / row["upload_s"] for row in rows],
        "cpu_s_per_gb": [row["cpu_s"] / (state.nbytes / 1e9) for row in rows],
    }
    found = {name: round(statistics.median(values), 4) for name, values in ratios.items()}
    print(json.dumps({**found, "state_gib": round(state.nbytes / 2**30, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
