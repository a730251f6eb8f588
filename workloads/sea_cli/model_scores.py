"""Program: log-probabilities of token ids by transformers, the trainer or the engine.

`python -m sea_cli.model_scores {transformers|trainer|engine} FOLDER DTYPE` reads rows of token ids
as JSON from standard input and prints one JSON list of log-probabilities per row, each token given
all before it (the first has none). A process of its own for each: the libraries set
environment variables and process-wide state that the others must not see. Started by
`model_check`.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from sea_data.models import fp8_blocks

Rows = list[list[int]]
Scores = list[list[float]]
RESULT = "sea-model-scores:"
"""Begins the line of the result: libraries print to standard output as well."""
_TIMEOUT_SECONDS = 60.0
"""Of a collective of the only rank."""


def by_transformers(folder: Path, dtype: str, rows: Rows) -> Scores:
    import torch
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), output_loading_info=True
    )
    left = {kind: names for kind in ("missing_keys", "unexpected_keys") if (names := info[kind])}
    if left:
        raise SystemExit(f"transformers doesn't load the folder whole: {left}")
    found = []
    for ids in rows:
        tokens = torch.tensor(ids)
        with torch.no_grad():
            logits = model.eval()(tokens[None]).logits[0].float()
        chosen = torch.log_softmax(logits, -1)[:-1].gather(1, tokens[1:, None])[:, 0]
        found.append([float(x) for x in chosen])
    return found


def by_trainer(folder: Path, dtype: str, rows: Rows) -> Scores:
    """Megatron's model on one rank, loaded as a stage loads it."""
    import numpy as np
    import torch

    from sea_api.v1alpha1.roles import TrainerParallelism
    from sea_runtime.parallel import hf_config, parallel_layout
    from sea_runtime.trainer import hf_weights, megatron_workarounds, process_groups
    from sea_runtime.trainer import model as models
    from sea_runtime.trainer.device import has_cuda, has_te
    from sea_runtime.trainer.process_protocol import RankAssignment

    megatron_workarounds.apply(cuda=has_cuda(), te=has_te())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process_groups.join(RankAssignment(1, 0, 1, 0, "127.0.0.1", port, _TIMEOUT_SECONDS))
    shape = hf_config.load(folder)
    place = parallel_layout.plan(TrainerParallelism(), shape, 1).place(0)
    process_groups.build_model_parallel_groups(place.layout, _TIMEOUT_SECONDS)
    model = models.build(shape, place, getattr(torch, dtype), row_tokens=max(map(len, rows)))
    hf_weights.load(model, folder)
    tokens = [np.asarray(ids) for ids in rows]
    wanted = [np.ones(len(ids)) for ids in rows]
    found = []
    for number in range(len(rows)):
        (batch,) = model.microbatches(model.plan(tokens, [number], wanted), tokens, wanted)
        with torch.no_grad():
            scores, _ = model.forward(batch)
        # By the position that predicts a token; a row may be padded at its end.
        found.append([float(x) for x in scores[: len(rows[number]) - 1]])
    return found


def by_engine(folder: Path, dtype: str, rows: Rows) -> Scores:
    """vLLM with what decides its numbers in a rollout pod; on one GPU, or on the CPU."""
    from sea_runtime.rollout import engine_args
    from sea_runtime.trainer.device import has_cuda
    from sea_runtime.wire.weights import ModelReply

    longest = max(map(len, rows)) + 1  # and the one token that it must generate
    place = engine_args.Placement(folder, "127.0.0.1", gpus=int(has_cuda()))
    os.environ.update(engine_args.environment(os.environ, place))
    model = ModelReply(
        url="",
        name="checked",
        precision=dtype,
        context_length=longest,
        tensor_parallel=1,
        expert_parallel=False,
    )
    on_cpu = {
        "enforce_eager": True,
        "block_size": engine_args.CPU_BLOCK_TOKENS,
        "kv_cache_memory_bytes": engine_args.kv_cache_bytes(
            model, engine_args.read_config(folder), sequences=1
        ),
    }

    from vllm import LLM, SamplingParams

    engine = LLM(
        str(folder),
        dtype=dtype,
        max_model_len=longest,
        skip_tokenizer_init=True,
        generation_config="vllm",
        logprobs_mode="processed_logprobs",
        **({} if place.gpus else on_cpu),
    )
    wanted = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
    answers = engine.generate([{"prompt_token_ids": ids} for ids in rows], wanted, use_tqdm=False)
    return [
        [
            float(of[token].logprob)
            for of, token in zip(one.prompt_logprobs[1:], ids[1:], strict=True)
        ]
        for one, ids in zip(answers, rows, strict=True)
    ]


PROGRAMS: Mapping[str, Callable[[Path, str, Rows], Scores]] = {
    "transformers": by_transformers,
    "trainer": by_trainer,
    "engine": by_engine,
}


def _dequantized(folder: Path, dtype: str, place: Path) -> Path:
    """The folder; of FP8 weights a copy in `place` as a rollout pod makes one.

    The trainer reads FP8 itself. So could transformers, but only with a library (accelerate) that
    isn't installed.
    """
    if not fp8_blocks.is_in_blocks(json.loads((folder / "config.json").read_text())):
        return folder
    import torch

    from sea_runtime import fp8_weights

    shutil.copytree(folder, place, dirs_exist_ok=True)
    fp8_weights.dequantize_folder(place, getattr(torch, dtype))
    return place


def main() -> None:
    name, given, dtype = sys.argv[1:]
    rows: Rows = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="dequantized-") as place:
        folder = Path(given)
        if name != "trainer":
            folder = _dequantized(folder, dtype, Path(place))
        scores = PROGRAMS[name](folder, dtype, rows)
    sys.stdout.write(f"\n{RESULT}{json.dumps(scores)}\n")
    sys.stdout.flush()
    os._exit(0)  # threads of gloo and of the engine may keep the interpreter from ending


if __name__ == "__main__":
    main()
