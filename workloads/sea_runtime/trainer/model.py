"""Builds Megatron's GPTModel for a Hugging Face Qwen3(-MoE) shape, wrapped for data parallelism.

After `process_groups.join`, before `hf_weights.load`. Layers are TransformerEngine's on a GPU if
the library is installed (untested: no GPU has run it). Otherwise they are Megatron's local ones,
with the experts of `experts.py`, on the GPU as on the CPU. Attention is `attention.py` everywhere.

Shape suffixes: t tokens of a packed row, v vocabulary.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.models.gpt import gpt_layer_specs
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.trainer import objective, packing, recomputation, rope
from sea_runtime.trainer.attention import TorchAttention
from sea_runtime.trainer.device import has_cuda, has_te, training_device
from sea_runtime.trainer.experts import GroupedExperts
from sea_runtime.trainer.packing import Microbatch, MicrobatchTensors, Rows


@dataclass(frozen=True)
class Model:
    """A built model; `ddp` is what runs, `gpt` holds the parameters."""

    shape: ModelShape
    layout: ParallelLayout
    ddp: DistributedDataParallel
    gpt: GPTModel
    te: bool
    """Built from TransformerEngine's layers: they name parameters differently."""
    row_tokens: int
    """Most tokens of a packed row; a longer sequence has a row of its own."""

    def plan(self, tokens: Rows, chosen: Sequence[int]) -> list[Microbatch]:
        """The microbatches of the chosen sequences; the same on every rank."""
        return packing.plan_chosen(tokens, chosen, self.layout.world_size, self.row_tokens)

    def microbatches(
        self, microbatches: Sequence[Microbatch], tokens: Rows
    ) -> Iterator[MicrobatchTensors]:
        """This rank's row of each microbatch.

        Every rank runs the model on all of them, in this order: each forward and backward pass is
        a collective among the ranks that share experts.
        """
        rank = self.layout.rank
        return packing.iter_microbatches(microbatches, rank, tokens, training_device())

    def logits(self, tokens_t: Tensor, bounds: list[int]) -> Tensor:
        """A packed row of tokens [T] -> logits [T, V].

        Args:
            bounds: where sequences begin, then T (`packing.bounds`). No sequence sees another, and
                each counts its positions from 0 (Megatron's `thd` format).
        """
        # cu_seqlens, int32 [sequences + 1]. Queries and keys share it: every token is both.
        starts = torch.tensor(bounds, dtype=torch.int32, device=tokens_t.device)
        longest = max(b - a for a, b in itertools.pairwise(bounds))
        packed = PackedSeqParams(
            qkv_format="thd",
            cu_seqlens_q=starts,
            cu_seqlens_kv=starts,
            max_seqlen_q=longest,
            max_seqlen_kv=longest,
        )
        positions_t = torch.cat([torch.arange(b - a) for a, b in itertools.pairwise(bounds)])
        # Megatron wants a batch dimension, [1, T]; the sequences are separated by `packed`, so no
        # attention mask is passed.
        logits_1tv = self.ddp(
            tokens_t[None], positions_t[None].to(tokens_t.device), None, packed_seq_params=packed
        )
        return logits_1tv[0]

    def logprobs(
        self, microbatch: MicrobatchTensors, temperature: float = 1.0, *, grad: bool = True
    ) -> Tensor:
        """log p of each token given the tokens before it in its sequence, [T]."""
        context: AbstractContextManager[Any] = nullcontext() if grad else torch.no_grad()
        with context:
            logits_tv = self.logits(microbatch.tokens_t, microbatch.bounds)
            return objective.token_logprobs(
                logits_tv, microbatch.tokens_t, microbatch.starts_t, temperature
            )


def transformer_config(
    shape: ModelShape, layout: ParallelLayout, dtype: torch.dtype, recompute: Recomputation
) -> TransformerConfig:
    """Megatron's configuration; `recompute` is resolved, not `Auto`.

    Gradients are summed over ranks and microbatches, not averaged (`calculate_per_token_loss`): the
    loss's coefficients are normalized over the whole batch beforehand (`objective.py`).
    """
    return TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        num_attention_heads=shape.heads,
        num_query_groups=shape.kv_heads,
        kv_channels=shape.head_dim,
        ffn_hidden_size=shape.ffn,
        normalization="RMSNorm",
        layernorm_epsilon=shape.norm_eps,
        qk_layernorm=shape.qk_norm,
        add_bias_linear=False,
        add_qkv_bias=shape.qkv_bias,
        softmax_scale=rope.softmax_scale(shape),
        gated_linear_unit=True,
        activation_func=nn.functional.silu,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
        cross_entropy_loss_fusion=False,
        persist_layer_norm=False,
        # Otherwise Megatron scales gradients by 1 / data-parallel size.
        calculate_per_token_loss=True,
        expert_model_parallel_size=layout.expert,
        use_cpu_initialization=not has_cuda(),
        # `hf_weights.load` overwrites every parameter: random initialization would be wasted.
        perform_initialization=False,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=dtype is torch.bfloat16,
        **recomputation.megatron_options(recompute, moe=bool(shape.experts)),
        **_expert_options(shape),
    )


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
        "moe_token_dispatcher_type": "alltoall" if has_cuda() else "allgather",
        # TransformerEngine's; without it `layer_spec` puts in our own.
        "moe_grouped_gemm": has_cuda() and has_te(),
        "moe_permute_fusion": False,
    }


def layer_spec(shape: ModelShape, config: TransformerConfig) -> tuple[Any, bool]:
    """The layer spec with our attention in it; true if its layers are TransformerEngine's."""
    experts = shape.experts or None
    te = has_cuda() and has_te()
    if te:
        spec = gpt_layer_specs.get_gpt_layer_with_transformer_engine_spec(
            num_experts=experts,
            moe_grouped_gemm=config.moe_grouped_gemm,
            qk_layernorm=shape.qk_norm,
        )
    else:
        spec = gpt_layer_specs.get_gpt_layer_local_spec(
            num_experts=experts, qk_layernorm=shape.qk_norm, normalization="RMSNorm"
        )
    if experts and not te:
        spec.submodules.mlp.submodules.experts.module = GroupedExperts
    # After the spec is made and before GPTModel reads it; both spec functions return a new one.
    spec.submodules.self_attention.submodules.core_attention = TorchAttention
    return spec, te


def build(
    shape: ModelShape,
    layout: ParallelLayout,
    dtype: torch.dtype,
    row_tokens: int,
    recompute: Recomputation = Recomputation.AUTO,
) -> Model:
    """An uninitialized model on this rank's device; `hf_weights.load` fills it. Collective."""
    recompute = recomputation.resolve(recompute, cuda=has_cuda())
    config = transformer_config(shape, layout, dtype, recompute)
    spec, te = layer_spec(shape, config)
    gpt = GPTModel(
        config=config,
        transformer_layer_spec=spec,
        vocab_size=shape.vocabulary,
        max_sequence_length=shape.context,
        share_embeddings_and_output_weights=shape.tied,
        position_embedding_type="rope",
        rotary_base=shape.rope_theta,
        parallel_output=False,
    )
    rope.scale(gpt, shape)
    module = Float16Module(config, gpt) if config.bf16 else gpt
    # Gradients of many microbatches are summed in FP32: in bf16 small ones would be lost. They are
    # reduced once per step (`optimizer.py`), not during each backward pass.
    options = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True, overlap_grad_reduce=False, use_distributed_optimizer=True
    )
    ddp = DistributedDataParallel(config, options, module.cuda() if has_cuda() else module)
    # Everything but the experts is replicated: tensor, pipeline and context parallel sizes are 1.
    assert parallel_state.get_data_parallel_world_size() == layout.world_size
    return Model(shape, layout, ddp, gpt, te, row_tokens)
