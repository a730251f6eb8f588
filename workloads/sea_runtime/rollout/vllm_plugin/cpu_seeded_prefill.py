"""Workaround for vLLM 0.32.0 on CPU: a seeded request whose prompt is prefilled in parts dies.

After each part but the last, vLLM throws the sampled token away and takes the request's generator
back by `set_offset(get_offset() - 4)`, which only CUDA's generators have, so the engine core ends
with an error about offsets. Here the generator goes back to its state before the draw: as on a GPU,
the tokens don't depend on how the prompt was cut.
"""

from typing import Any

import torch
from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler
from vllm.v1.worker.gpu_input_batch import CachedRequestState

_MARK = "_sea_remembers"


class RewindableGenerator(torch.Generator):
    """A CPU generator with the two calls that vLLM takes the last draw back by."""

    before: torch.Tensor | None = None
    """State before the last draw."""

    def remember(self) -> None:
        """Call before a draw."""
        self.before = self.get_state()

    def get_offset(self) -> int:
        """Only passed on to `set_offset`."""
        return 0

    def set_offset(self, offset: int) -> None:
        """Takes the last draw back, whatever the offset."""
        if self.before is not None:
            self.set_state(self.before)


def rewindable(generator: torch.Generator | None) -> torch.Generator | None:
    """The same generator in a form that can be taken back; those of GPUs can already."""
    if generator is None or generator.device.type != "cpu":
        return generator
    made = RewindableGenerator(device="cpu")
    made.set_state(generator.get_state())
    return made


def rewind_generators() -> None:
    """Patches vLLM in this process, before an engine is built; safe to call twice."""
    if hasattr(TopKTopPSampler, _MARK):
        return
    complete, sample = CachedRequestState.__post_init__, TopKTopPSampler.forward_cpu

    def completed(self: Any) -> None:
        complete(self)
        self.generator = rewindable(self.generator)

    def sampled(self: Any, logits: Any, generators: dict[int, torch.Generator], *more: Any) -> Any:
        for generator in generators.values():
            if isinstance(generator, RewindableGenerator):
                generator.remember()
        return sample(self, logits, generators, *more)

    CachedRequestState.__post_init__ = completed
    TopKTopPSampler.forward_cpu = sampled
    setattr(TopKTopPSampler, _MARK, True)
