"""megatron-core 0.16.1: `moe_utils` reads `te_general_gemm`, defined only with TransformerEngine.

Without this the router's forward pass raises NameError.
"""

from megatron.core.transformer.moe import moe_utils


def apply() -> None:
    if not hasattr(moe_utils, "te_general_gemm"):
        moe_utils.te_general_gemm = None
