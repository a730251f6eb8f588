"""Names what ran out of memory: the rank, its pipeline stage, the item, and what would help.

The supervisor reports the sentence with cause OutOfMemory; `stage_trainer.py` and the loops say
which item they are at.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel.parallel_layout import Place
from sea_runtime.trainer.errors import RankOutOfMemoryError

PASSES = "the passes through the model"
UPDATE = "the optimizer update"


@dataclass(frozen=True)
class RankMemory:
    """The rank's place, and the spec that its memory follows from."""

    place: Place
    spec: Spec
    row_tokens: int
    recomputation: Recomputation
    """What is in force, not `Auto`."""

    @contextmanager
    def naming(self, item: str) -> Iterator[None]:
        """Turns a lack of memory within into a sentence.

        Args:
            item: what is computed, e.g. `the optimizer update`.

        Raises:
            RankOutOfMemoryError: instead of torch's and Python's own errors.
        """
        try:
            yield
        # Only the types that are surely a lack of memory: a CPU's allocator raises a RuntimeError
        # that can't be told from others.
        except (torch.OutOfMemoryError, MemoryError) as error:
            held = _held() if isinstance(error, torch.OutOfMemoryError) else ""
            raise RankOutOfMemoryError(
                f"{self._where()} ran out of memory in {item}{held}. {self.advice()}"
            ) from error

    def _where(self) -> str:
        layout = self.place.layout
        text = f"Rank {self.place.rank} of {layout.world_size}"
        stages = layout.pipeline
        return text + (f" (pipeline stage {self.place.stage} of {stages})" if stages > 1 else "")

    def advice(self) -> str:
        """What needs less, the cheapest first."""
        trainer, gpus = self.spec.trainer, self.spec.trainer.gpus_per_pod > 0
        found = []
        if self.recomputation is not Recomputation.FULL:
            found.append("set trainer.recomputation to Full")
        found.append(f"set trainer.maxTokensPerMicrobatch below {self.row_tokens}")
        bf16 = self.spec.model.precision is Precision.BF16
        if gpus and bf16 and not trainer.optimizer.offload:
            found.append("set trainer.optimizer.offload to true")
        found.append("divide the model over more processes in trainer.parallelism")
        if not gpus:
            found.append("raise the memory limit of trainer.template")
        listed = ", or ".join(found)
        return listed[0].upper() + listed[1:] + "."


def _held() -> str:
    """What this process has allocated on its GPU."""
    if not torch.cuda.is_available():
        return ""
    gib = torch.cuda.max_memory_allocated() / 2**30
    whole = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 2**30
    return f", with at most {gib:.1f} of {whole:.1f} GiB allocated"
