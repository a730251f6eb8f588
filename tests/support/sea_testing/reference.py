"""Log-probabilities by transformers, to compare with."""

from pathlib import Path


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
