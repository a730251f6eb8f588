"""What `weights.keepCache` changes in log-probabilities: `make bench-keep-cache`.

One vLLM engine on the CPU generates the same seeded requests twice, with three updates while they
run: once computing the tokens so far again after each update, once keeping their keys and values.
Each token's log-probability is compared with what a fresh pass over the whole sequence gives under
the version that labels the token, as the trainer computes it. Prints rows; the last line is JSON.

The steps between versions are Gaussian, of such a size that the wanted share of bf16 elements
changes. The model is random, with weights as large as a trained one's.

Rewards need a model that learns: `keep_cache_rewards.py`.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sea_devcluster import interrupts
from sea_runtime.rollout import engine_args

PERCENTS = (0.6, 4.0, 25.0)
SEQUENCES, PROMPT, TOKENS = 16, 48, 96
UPDATE_EVERY = 24
"""Tokens of each request."""
SHARPNESS = 3.0
"""Standard deviation of the logits: with 1 all tokens would be drawn nearly alike."""
TITLE = "Log-probabilities of the engine minus a fresh pass, tokens after an update"
ROW = "% changed per step"
NAME = "keep_cache"
RESULT = f'{{"{NAME}"'
"""Beginning of the line of JSON."""
Tensors = dict[str, torch.Tensor]


def stepped(tensors: Tensors, share: float, seed: int) -> Tensors:
    """The tensors after a Gaussian step that changes this share of their elements in bf16."""
    generator = torch.Generator().manual_seed(seed)
    steps = {name: torch.randn(one.shape, generator=generator) for name, one in tensors.items()}
    flat = torch.cat([one.flatten()[:4096] for one in tensors.values()])
    noise = torch.cat([one.flatten()[:4096] for one in steps.values()])
    low, high = 1e-9, 1e-1
    for _ in range(30):  # bisects the size of the step
        scale = math.sqrt(low * high)
        changed = float(((flat + scale * noise).bfloat16() != flat.bfloat16()).float().mean())
        low, high = (scale, high) if changed < share else (low, scale)
    return {name: one + scale * steps[name] for name, one in tensors.items()}


class Run:
    """Requests that go on through updates."""

    def __init__(self, engine: Any, versions: Sequence[Tensors]) -> None:
        self._engine, self._versions = engine, versions

    def generate(self, *, keep: bool) -> list[tuple[list[int], list[float], list[int]]]:
        """Tokens, log-probabilities and the version of each token, by request."""
        from vllm import SamplingParams

        self._load(0)
        core = self._engine.llm.llm_engine
        for index in range(SEQUENCES):
            parameters = SamplingParams(
                seed=index, max_tokens=TOKENS, logprobs=0, ignore_eos=True, detokenize=False
            )
            core.add_request(str(index), {"prompt_token_ids": prompt(index)}, parameters)
        version = 0
        found: dict[int, Any] = {}
        labels: list[list[int]] = [[] for _ in range(SEQUENCES)]
        while core.has_unfinished_requests():
            for output in core.step():
                index, made = int(output.request_id), output.outputs[0]
                labels[index] += [version] * (len(made.token_ids) - len(labels[index]))
                found[index] = made
            if min(map(len, labels)) >= UPDATE_EVERY * (version + 1) < TOKENS:
                version += 1
                self._load(version, keep=keep)
        return [
            (list(made.token_ids), sampled(made.logprobs, made.token_ids), labels[index])
            for index, made in sorted(found.items())
        ]

    def exact(self, tokens: Sequence[list[int]]) -> list[list[list[float]]]:
        """Log-probabilities of the tokens in a fresh pass, by version and request."""
        from vllm import SamplingParams

        found = []
        for version in range(len(self._versions)):
            self._load(version)
            outputs = self._engine.llm.generate(
                [{"prompt_token_ids": prompt(i) + one} for i, one in enumerate(tokens)],
                SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False),
                use_tqdm=False,
            )
            found.append(
                [
                    sampled(output.prompt_logprobs[PROMPT:], one)
                    for output, one in zip(outputs, tokens, strict=True)
                ]
            )
        return found

    def _load(self, version: int, *, keep: bool = False) -> None:
        self._engine.stage(self._versions[version])
        self._engine.update()
        if not keep:
            # As vLLM's pause does: running requests are computed again from their first token.
            assert self._engine.llm.reset_prefix_cache(reset_running_requests=True)


def sampled(rows: Any, tokens: Sequence[int]) -> list[float]:
    """The log-probability of each token, of vLLM's dictionaries by token."""
    return [one[token].logprob for one, token in zip(rows, tokens, strict=True)]


def prompt(index: int) -> list[int]:
    generator = torch.Generator().manual_seed(1000 + index)
    return torch.randint(5, 1000, (PROMPT,), generator=generator).tolist()


def row(run: Run, *, keep: bool) -> dict[str, Any]:
    """Differences of the tokens that came after the first update."""
    requests = run.generate(keep=keep)
    exact = run.exact([tokens for tokens, _, _ in requests])
    differences = torch.tensor(
        [
            engine - exact[label][index][at]
            for index, (_, logprobs, labels) in enumerate(requests)
            for at, (engine, label) in enumerate(zip(logprobs, labels, strict=True))
            if label
        ]
    )
    absolute = differences.abs()
    return {
        "mean": float(f"{absolute.mean():.2g}"),
        "p99": float(f"{absolute.quantile(0.99):.2g}"),
        "max": float(f"{absolute.max():.2g}"),
        # The importance ratio of the trainer to the engine, which training bounds.
        "ratio": float(f"{(-differences).exp().mean():.4f}"),
        "tokens": [tokens for tokens, _, _ in requests],
    }


def scaled(tensor: torch.Tensor) -> torch.Tensor:
    """As large as in a trained model: norms of 1, and matrices that keep the size of what they
    multiply. With small ones everywhere no layer would change what comes through."""
    if tensor.dim() == 1:
        return torch.ones_like(tensor)
    return tensor / tensor.std() / math.sqrt(tensor.shape[-1])


def measure(folder: Path) -> None:
    import weights_pause

    tensors = {name: scaled(one) for name, one in weights_pause.build(folder).items()}
    tensors["lm_head.weight"] *= SHARPNESS
    engine = weights_pause.Engine(folder, tensors, SEQUENCES)
    found = {}
    print(TITLE)
    for percent in PERCENTS:
        versions = [tensors]
        for seed in range(TOKENS // UPDATE_EVERY - 1):
            versions.append(stepped(versions[-1], percent / 100, seed))
        run = Run(engine, versions)
        rows = {name: row(run, keep=name == "keep") for name in ("recompute", "keep")}
        both = zip(*(one.pop("tokens") for one in rows.values()), strict=True)
        same = sum(a == b for one, other in both for a, b in zip(one, other, strict=True))
        found[f"{percent:g}"] = rows | {"same_tokens": round(same / SEQUENCES / TOKENS, 3)}
        for name, one in rows.items():
            print(f"  {percent:4g} {ROW}, {name:9}: {one}")
        print(f"  {percent:4g} {ROW}, tokens alike: {same / SEQUENCES / TOKENS:.3f}")
    print(json.dumps({NAME: found}))


def main() -> None:
    interrupts.raise_on_signals()  # the engine is a child, which would go on
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
        return
    # In a process of its own, with the variables of an engine on the CPU.
    with tempfile.TemporaryDirectory() as folder:
        place = engine_args.Placement(Path(folder), "127.0.0.1", gpus=0)
        variables = engine_args.environment(os.environ, place)
        program = [sys.executable, "-W", "ignore", __file__, folder]
        done = subprocess.run(program, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    lines = done.stdout.splitlines()
    # vLLM logs to the same output, also after the result.
    result = next(line for line in reversed(lines) if line.startswith(RESULT))
    print(*[line for line in lines if TITLE in line or ROW in line], result, sep="\n")


if __name__ == "__main__":
    main()
