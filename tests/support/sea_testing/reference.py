"""Log-probabilities and experts by transformers, to compare with."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

NEAR_TIES = 2
"""Places in which vLLM and transformers may round to another expert; other weights differ in more
than half of all."""


class Reference:
    """transformers' log-probabilities of the same model."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._folder = folder

    def load(self, weights: Path) -> None:
        """Replaces the weights by a safetensors file with HF names."""
        from transformers import AutoConfig, AutoModelForCausalLM

        folder = weights.with_suffix(".hf")
        folder.mkdir(exist_ok=True)
        for name in ("config.json", "generation_config.json"):
            (folder / name).write_bytes((self._folder / name).read_bytes())
        (folder / "model.safetensors").write_bytes(weights.read_bytes())
        config = AutoConfig.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=self._torch.float32
        ).eval()

    def logprobs(
        self, prompt: list[int], generated: list[int], temperature: float = 1.0
    ) -> list[float]:
        """Of each generated token, given all before it, in the distribution sampled from."""
        torch = self._torch
        with torch.no_grad():
            logits = self._model(torch.tensor([prompt + generated])).logits[0]
        rows = torch.log_softmax(logits.float() / temperature, -1)[len(prompt) - 1 : -1]
        return [float(row[token]) for row, token in zip(rows, generated, strict=True)]

    def experts(self, tokens: list[int]) -> list[list[set[int]]]:
        """Those that each layer's router chooses for each token: by token, then by layer."""
        torch, chosen = self._torch, self._model.config.num_experts_per_tok
        with torch.no_grad():
            found = self._model(torch.tensor([tokens]), output_router_logits=True)
        layers = [logits.topk(chosen, -1).indices.tolist() for logits in found.router_logits]
        return [[set(layer[i]) for layer in layers] for i in range(len(tokens))]


def differing_experts(named: Sequence[bytes], wanted: Sequence[list[set[int]]]) -> int:
    """In how many places, of tokens times layers, an engine's choice isn't that of `experts`."""
    assert len(named) == len(wanted)
    rows = [np.frombuffer(token, np.uint8).reshape(len(wanted[0]), -1) for token in named]
    # As sets: the order of a token's experts is no router's promise.
    return sum(
        set(map(int, chosen)) != layer
        for row, layers in zip(rows, wanted, strict=True)
        for chosen, layer in zip(row, layers, strict=True)
    )
