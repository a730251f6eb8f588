"""Megatron's configuration and layers for a model's shape and layout. Used by `model.build`.

Layers are TransformerEngine's on a GPU if the library is installed (untested: no GPU has run it).
Otherwise they are Megatron's local ones, with the experts of `experts.py`, on the GPU as on the
CPU. Attention is `attention.py` everywhere.
"""

from typing import Any

import torch
from megatron.core.models.gpt import gpt_layer_specs
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import nn

from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.trainer import recomputation, rope
from sea_runtime.trainer.attention import TorchAttention
from sea_runtime.trainer.device import has_cuda, has_te
from sea_runtime.trainer.experts import GroupedExperts
from sea_runtime.trainer.gpt import Norm

ANY_ROWS, EQUAL_ROWS = "alltoall", "allgather"
"""Megatron's dispatchers of tokens to experts; the second needs rows of one length."""
_UNFUSED = dict.fromkeys(
    (
        "bias_activation_fusion",
        "bias_dropout_fusion",
        "masked_softmax_fusion",
        "apply_rope_fusion",
        "gradient_accumulation_fusion",
        "cross_entropy_loss_fusion",
        "persist_layer_norm",
    ),
    False,
)
"""Kernels of Apex and TransformerEngine, which an image need not have."""


def transformer_config(
    shape: ModelShape, layout: ParallelLayout, dtype: torch.dtype, recompute: Recomputation
) -> TransformerConfig:
    """Megatron's configuration; `recompute` is resolved, not `Auto`.

    `overlap_param_gather` must stay off: parameters would be stale until the next forward pass, and
    publishing reads them before it.

    Gradients are summed over ranks and microbatches, not averaged (`calculate_per_token_loss`): the
    loss's coefficients are normalized over the whole batch beforehand (`objective.py`).
    """
    dispatcher = _dispatcher(layout)
    return TransformerConfig(
        **_layer_options(shape),
        # Otherwise Megatron scales gradients by 1 / data-parallel size.
        calculate_per_token_loss=True,
        tensor_model_parallel_size=layout.tensor,
        sequence_parallel=layout.sequence_parallel,
        pipeline_model_parallel_size=layout.pipeline,
        pipeline_model_parallel_layout=_stages(layout) if layout.pipeline > 1 else None,
        context_parallel_size=layout.context,
        expert_model_parallel_size=layout.expert,
        # Always given: Megatron's default is the tensor-parallel size.
        expert_tensor_parallel_size=layout.expert_tensor,
        # A stage sends the shape of its activations before them: microbatches differ in length.
        variable_seq_lengths=layout.pipeline > 1 and dispatcher == ANY_ROWS,
        # A synchronization of the device after each message, which only old NCCL needed.
        batch_p2p_sync=False,
        moe_token_dispatcher_type=dispatcher,
        use_cpu_initialization=not has_cuda(),
        # `hf_weights.load` overwrites every parameter: random initialization would be wasted.
        perform_initialization=False,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=dtype is torch.bfloat16,
        **_UNFUSED,
        **recomputation.megatron_options(recompute, moe=bool(shape.experts)),
        **_expert_options(shape),
    )


def _layer_options(shape: ModelShape) -> dict[str, Any]:
    """What every layer of the model is, but for its experts."""
    return {
        "num_layers": shape.layers,
        "hidden_size": shape.hidden,
        "num_attention_heads": shape.heads,
        "num_query_groups": shape.kv_heads,
        "kv_channels": shape.head_dim,
        "ffn_hidden_size": shape.ffn,
        "normalization": "RMSNorm",
        "layernorm_epsilon": shape.norm_eps,
        "qk_layernorm": shape.qk_norm,
        "add_bias_linear": False,
        "add_qkv_bias": shape.qkv_bias,
        "softmax_scale": rope.softmax_scale(shape),
        "gated_linear_unit": True,
        "activation_func": nn.functional.silu,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    }


def _expert_options(shape: ModelShape) -> dict[str, Any]:
    """Empty for a dense model."""
    if not shape.experts:
        return {}
    return {
        "num_moe_experts": shape.experts,
        "moe_router_topk": shape.experts_per_token,
        "moe_ffn_hidden_size": shape.expert_ffn,
        # Megatron's default is a softmax over the chosen logits, which equals Hugging Face's
        # normalized top-k probabilities; otherwise the softmax comes before the choice.
        "moe_router_pre_softmax": not shape.normalize_top_k,
        # No auxiliary loss: it would add a gradient that the losses in `objective.py` don't have.
        "moe_router_load_balancing_type": "none",
        "moe_aux_loss_coeff": 0.0,
        "moe_router_dtype": "fp32",
        # TransformerEngine's; without it `layer_spec` puts in our own.
        "moe_grouped_gemm": has_cuda() and has_te(),
        "moe_permute_fusion": False,
    }


def _dispatcher(layout: ParallelLayout) -> str:
    """How tokens get to their experts."""
    # gloo can't gather parts of different length, which alltoall needs for experts that are both
    # spread and split. The other dispatcher needs rows of one length on all ranks instead.
    uneven = layout.expert > 1 and layout.expert_tensor > 1
    return EQUAL_ROWS if uneven and not has_cuda() else ANY_ROWS


def _stages(layout: ParallelLayout) -> list[list[str]]:
    """Megatron's `pipeline_model_parallel_layout`: what each stage consists of."""
    found = [["decoder"] * count for count in layout.stage_layers]
    return [["embedding", *found[0]], *found[1:-1], [*found[-1], "loss"]]


def layer_spec(shape: ModelShape, config: TransformerConfig) -> tuple[Any, bool]:
    """The spec of one layer, and whether it is TransformerEngine's."""
    experts = shape.experts or None
    if has_cuda() and has_te():
        spec = gpt_layer_specs.get_gpt_layer_with_transformer_engine_spec(
            num_experts=experts,
            moe_grouped_gemm=config.moe_grouped_gemm,
            qk_layernorm=shape.qk_norm,
        )
        spec.submodules.self_attention.submodules.core_attention = TorchAttention
        return spec, True
    spec = gpt_layer_specs.get_gpt_layer_local_spec(
        num_experts=experts, qk_layernorm=shape.qk_norm, normalization="RMSNorm"
    )
    if experts:
        spec.submodules.mlp.submodules.experts.module = GroupedExperts
    # After the spec is made and before GPTModel reads it; the function returns a new one.
    attention = spec.submodules.self_attention.submodules
    attention.core_attention = TorchAttention
    if shape.qk_norm:
        attention.q_layernorm = attention.k_layernorm = Norm
    spec.submodules.input_layernorm = spec.submodules.pre_mlp_layernorm = Norm
    return spec, False
