"""What the trainer trades for memory: recomputed activations, where optimizer states are kept."""

from enum import StrEnum
from typing import Any, ClassVar

from sea_api.v1alpha1.base import ApiModel
from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.edits import NEW_ATTEMPT, Edits
from sea_api.v1alpha1.rules import Rule
from sea_api.v1alpha1.types import Bool


class Recomputation(StrEnum):
    AUTO = "Auto"
    NONE = "None"
    SELECTIVE = "Selective"
    FULL = "Full"


class OptimizerMemory(ApiModel):
    """Where and how the optimizer's states are kept. They are always divided over the
    data-parallel replicas."""

    edits: ClassVar[Edits] = NEW_ATTEMPT

    offload: Bool = False
    """Keep the FP32 parameters and both moments of Adam in host memory while the model computes:
    12 bytes per parameter of a process, which must fit into the host's memory. Each optimizer
    update then waits for them to be copied to the GPU and back. False, the default, keeps them on
    the GPU. True needs GPUs and precision BF16."""
    moments: Precision = Precision.FP32
    """Number format of Adam's two moments. BF16 saves 4 bytes per parameter; it needs GPUs,
    precision BF16 and an image with TransformerEngine. FP32, the default, needs nothing."""


def _is_plain(optimizer: Any) -> bool:
    return not optimizer.offload and optimizer.moments == Precision.FP32


OPTIMIZER_GPUS = Rule(
    cel="self.gpusPerPod > 0 || (!self.optimizer.offload && self.optimizer.moments == 'FP32')",
    message="trainer.optimizer.offload and moments BF16 save GPU memory, and this trainer has no"
    " GPUs: leave both out, or set gpusPerPod",
    holds=lambda trainer: trainer.gpus_per_pod > 0 or _is_plain(trainer.optimizer),
)

OPTIMIZER_PRECISION = Rule(
    cel="self.model.precision == 'BF16'"
    " || (!self.trainer.optimizer.offload && self.trainer.optimizer.moments == 'FP32')",
    message="trainer.optimizer.offload and moments BF16 need precision BF16, since in FP32 the"
    " model's own parameters are the optimizer's: leave both out, or set model.precision to BF16",
    holds=lambda spec: spec.model.precision == Precision.BF16 or _is_plain(spec.trainer.optimizer),
)
