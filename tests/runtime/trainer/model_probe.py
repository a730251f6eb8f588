"""Program: random models of every family, as transformers saves them, against the trainer's.

`model_probe.py FOLDER [COUNT [SEED [all]]]` prints one JSON object: per model the largest
difference of the log-probabilities as loaded, and after one step of training and an export. The
last Qwen2 and the last Qwen3-MoE, or all, have sizes that vLLM serves on CPUs (`engine_probe.py`):
of these also the exported folder, the tokens and transformers' log-probabilities.
"""

import json
import os
import random
import socket
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from safetensors.torch import save_file

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_data.models import tensors
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.trainer import (
    hf_weights,
    megatron_workarounds,
    model_files,
    process_groups,
)
from sea_runtime.trainer import model as models
from sea_runtime.trainer.optimizer import Optimizer
from sea_runtime.trainer.process_protocol import RankAssignment
from sea_testing import fp8

TOKENS = 48
VOCABULARY = 96
FP8_BLOCK = (8, 8)
"""It divides all sizes below."""
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def random_configuration(number: int, seed: int, *, served: bool) -> tuple[str, dict[str, Any]]:
    """(family, arguments of its configuration class); families take turns.

    Args:
        served: with sizes that vLLM's kernels for CPUs have: heads and experts in multiples of 32.
    """
    rng = random.Random(f"{seed} {number}")
    family = ("Qwen2", "Qwen3", "Qwen3Moe")[number % 3]
    groups, per_group = rng.choice([1, 2, 3]), rng.choice([1, 2, 4])
    heads = groups * per_group
    head_dim = rng.choice([32] if served else [8, 16, 32])
    rope = [{}, {"rope_type": "linear", "factor": 2.0}, YARN, LLAMA3][number // 3 % 4]
    found: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": heads * head_dim
        if family == "Qwen2"
        else rng.choice([64] if served else [32, 48]),
        "intermediate_size": rng.choice([40, 64]),
        "num_hidden_layers": rng.choice([1, 2, 3]),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "max_position_embeddings": 64,
        "rms_norm_eps": rng.choice([1e-6, 1e-5]),
        "tie_word_embeddings": number % 2 == 0,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": rng.choice([1e4, 1e6]),
            **rope,
        },
    }
    if family != "Qwen2":
        found["head_dim"] = head_dim
    if family == "Qwen3Moe":
        normalized = number % 2 == 0
        found |= {
            "num_experts": rng.choice([2, 4, 6]),
            "num_experts_per_tok": 2 if normalized else rng.choice([1, 2]),
            "moe_intermediate_size": rng.choice([32, 64] if served else [16, 24]),
            "norm_topk_prob": normalized,
        }
    # One that is longer than the sequences changes nothing, but has to be read.
    if rng.random() < 0.3:
        found |= {"use_sliding_window": True, "sliding_window": TOKENS}
        found |= {} if family == "Qwen3Moe" else {"max_window_layers": 0}
    return family, found


def save(folder: Path, number: int, seed: int, *, served: bool) -> dict[str, Any]:
    """A random model in `folder`, as transformers saves it; returns its configuration."""
    import transformers

    family, arguments = random_configuration(number, seed, served=served)
    torch.manual_seed(number)
    config = getattr(transformers, f"{family}Config")(**arguments)
    made = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            # Norms and biases too: at their initial 1 and 0 a swapped one would not be noticed.
            # Smaller in wider models, whose sums round more.
            parameter.normal_(std=0.1 if parameter.dim() == 1 or served else 0.2)
            if "norm" in name:
                parameter.add_(1.0)
    made.save_pretrained(folder)
    return {"family": family, **arguments}


def reference(folder: Path, tokens: torch.Tensor) -> torch.Tensor:
    """transformers' log-probabilities of each next token."""
    from transformers import AutoModelForCausalLM

    found, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    with torch.no_grad():
        logits = found.eval()(tokens[None]).logits[0].float()
    return torch.log_softmax(logits, -1)[:-1].gather(1, tokens[1:, None])[:, 0]


def in_fp8(folder: Path) -> Path:
    """Quantizes the folder; returns one as transformers dequantizes it."""
    fp8.quantize_folder(folder, FP8_BLOCK)
    plain = folder.with_name(f"{folder.name}-plain")
    plain.mkdir()
    save_file(fp8.by_transformers(folder), plain / "model.safetensors", metadata={"format": "pt"})
    model_files.copy_others(folder, plain, "float32")
    return plain


def load(folder: Path) -> models.Model:
    shape = hf_config.load(folder)
    place = parallel_layout.plan(TrainerParallelism(), shape, 1).place(0)
    process_groups.build_model_parallel_groups(place.layout, 60.0)
    built = models.build(shape, place, torch.float32, row_tokens=64)
    hf_weights.load(built, folder)
    return built


def logprobs(built: models.Model, tokens: torch.Tensor) -> torch.Tensor:
    rows = [tokens.numpy()]
    wanted = [np.ones(len(tokens))]
    (batch,) = built.microbatches(built.plan(rows, [0], wanted), rows, wanted)
    return built.forward(batch)[0, :-1]


def export_to(built: models.Model, initial: Path, folder: Path) -> None:
    """As `export.export` writes a folder, without a store and other ranks."""
    folder.mkdir()
    named = dict(hf_weights.iter_published(built))
    wanted = dict(tensors.expected(built.shape))
    assert {name: tuple(t.shape) for name, t in named.items()} == wanted
    save_file(
        {name: tensor.contiguous() for name, tensor in named.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    model_files.copy_others(initial, folder, "float32")


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.detach() - b.detach()).abs().max())


def probe(folder: Path, number: int, seed: int, *, served: bool) -> dict[str, Any]:
    initial, exported = folder / f"{number}", folder / f"{number}-trained"
    found = save(initial, number, seed, served=served)
    tokens = torch.randint(
        0, VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(number)
    )
    # Every family in turn, since their number is no divisor of 4.
    found["fp8"] = number % 4 == 1
    plain = in_fp8(initial) if found["fp8"] else initial
    built = load(initial)
    before = reference(plain, tokens)
    found["loaded"] = difference(logprobs(built, tokens), before)
    optimizer = Optimizer(built, 1e-3)
    optimizer.zero()
    (-logprobs(built, tokens).mean()).backward()
    optimizer.step(1e-3)
    export_to(built, initial, exported)
    after = reference(exported, tokens)
    found["exported"] = difference(logprobs(built, tokens), after)
    found["trained"] = difference(before, after)
    if served:
        found |= {"folder": str(exported), "tokens": tokens.tolist(), "logprobs": after.tolist()}
    return found


def main() -> None:
    folder, count, seed = Path(sys.argv[1]), 6, 0
    if len(sys.argv) > 2:
        count, seed = int(sys.argv[2]), int((sys.argv[3:] or ["0"])[0])
    every = sys.argv[4:] == ["all"]
    torch.set_num_threads(1)
    megatron_workarounds.apply(cuda=False, te=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = RankAssignment(1, 0, 1, 0, "127.0.0.1", port, 60.0)
    process_groups.join(alone)
    found = [
        # Not Qwen3, whose attention the experts' model has too: an engine takes seconds to start.
        probe(folder, number, seed, served=every or number in (count - 3, count - 1))
        for number in range(count)
    ]
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may keep the interpreter from ending


if __name__ == "__main__":
    main()
