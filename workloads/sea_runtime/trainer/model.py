"""Builds a rank's part of a Qwen3(-MoE) model as Megatron's GPTModel, wrapped for data parallelism.

After `process_groups.join` and `build_model_parallel_groups`, before `hf_weights.load`; the passes
run in `pipeline.py`. Layers are TransformerEngine's on a GPU if the library is installed (untested:
no GPU has run it). Otherwise they are Megatron's local ones, with the experts of `experts.py`, on
the GPU as on the CPU. Attention is `attention.py`, log-probabilities are `head.py` everywhere.

Shape suffixes: t tokens of this rank's part of a packed row, v vocabulary, h hidden.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.models.gpt import gpt_layer_specs
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.packed_seq_params import PackedSeqParams
from megatron.core.tensor_parallel import layers
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout, Place
from sea_runtime.parallel.row_balance import SequenceWork
from sea_runtime.parallel.weight_map import padded_vocabulary
from sea_runtime.trainer import head, packing, recomputation, rope
from sea_runtime.trainer.attention import TorchAttention
from sea_runtime.trainer.context_attention import ContextAttention
from sea_runtime.trainer.device import device_names, has_cuda, has_te, training_device
from sea_runtime.trainer.experts import GroupedExperts
from sea_runtime.trainer.packing import Grid, Microbatch, MicrobatchTensors, PerToken, Rows

_ANY_ROWS, _EQUAL_ROWS = "alltoall", "allgather"
"""Megatron's dispatchers of tokens to experts; the second needs rows of one length."""


class Policy(GPTModel):
    """A GPTModel whose last stage returns log-probabilities of the labels, not logits."""

    temperature = 1.0
    """Of the sampling that the log-probabilities are about; set before each pass."""
    entropy = False
    """Compute the entropies; set before each pass."""
    vocabulary = 0
    """Without the rows that pad it."""

    def _postprocess(self, hidden_states: Tensor, labels: Tensor, **_: Any) -> Tensor:
        """hidden [T / tensor, 1, H] -> [2, T], log p of labels and the entropy of what they are
        drawn from (0 unless asked for); the hidden states on other stages.
        """
        if not self.post_process:
            return hidden_states
        weight_vh = (
            self.shared_embedding_or_output_weight()
            if self.share_embeddings_and_output_weights
            else self.output_layer.weight
        )
        group = parallel_state.get_tensor_model_parallel_group()
        if self.config.sequence_parallel:
            # Its backward pass is a reduce-scatter, which sums what the ranks' parts of the
            # vocabulary contribute to the gradient.
            hidden_t1h = tensor_parallel.gather_from_sequence_parallel_region(hidden_states)
        else:
            hidden_t1h = hidden_states
        return head.token_values(
            hidden_t1h[:, 0],
            weight_vh,
            labels[0],
            self.temperature,
            group,
            self.vocabulary,
            entropy=self.entropy,
        )


class Norm(nn.Module):
    """RMSNorm, marked for `finalize_model_grads` where each rank has only a part of the tokens."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float, **_: Any) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        # Without it the gradient of a norm is that of this rank's tokens only, and the replicas
        # drift apart while the loss looks right.
        self.weight.sequence_parallel = config.sequence_parallel

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


@dataclass(frozen=True)
class Model:
    """A built model; `ddp` is what runs, `gpt` holds the parameters."""

    shape: ModelShape
    place: Place
    ddp: DistributedDataParallel
    gpt: Policy
    te: bool
    """Built from TransformerEngine's layers: they name parameters differently."""
    row_tokens: int
    """Most tokens of a packed row; a longer sequence has a row of its own."""
    recomputation: Recomputation
    """Not `Auto`."""

    @property
    def layout(self) -> ParallelLayout:
        return self.place.layout

    @cached_property
    def grid(self) -> Grid:
        config = self.gpt.config
        return Grid(
            self.layout.data,
            self.layout.sequence_multiple,
            self.layout.row_multiple,
            equal_rows=config.moe_token_dispatcher_type == _EQUAL_ROWS,
        )

    def plan(self, tokens: Rows, chosen: Sequence[int]) -> list[Microbatch]:
        """The microbatches of the chosen sequences; the same on every rank."""
        work = SequenceWork.of(self.shape)
        return packing.plan_chosen(tokens, chosen, self.grid, self.row_tokens, work)

    def microbatches(
        self, microbatches: Sequence[Microbatch], tokens: Rows, wanted: PerToken
    ) -> Iterator[MicrobatchTensors]:
        """This rank's part of each microbatch, with labels where `wanted` is not 0.

        Every rank runs the model on all of them, in this order: each forward and backward pass is
        a collective among the ranks that share experts.
        """
        device = training_device()
        return packing.iter_microbatches(
            microbatches, self.grid, self.place, tokens, wanted, device
        )

    def forward(
        self, batch: MicrobatchTensors, temperature: float = 1.0, *, entropy: bool = False
    ) -> Tensor:
        """[2, T] on the last stage, log p of each label and (if asked for) the entropy of its
        distribution; what the next stage needs on others.

        No sequence sees another, and each counts its positions from 0 (Megatron's `thd` format).
        """
        # int32 [sequences + 1], of the whole row also under context parallelism. Queries and keys
        # share it: every token is both.
        bounds, device = batch.row.bounds, batch.tokens_t.device
        starts = torch.tensor(bounds, dtype=torch.int32, device=device)
        longest = max(b - a for a, b in itertools.pairwise(bounds))
        packed = PackedSeqParams(
            qkv_format="thd",
            cu_seqlens_q=starts,
            cu_seqlens_kv=starts,
            max_seqlen_q=longest,
            max_seqlen_kv=longest,
        )
        self.gpt.temperature, self.gpt.entropy = temperature, entropy
        # Megatron wants a batch dimension, [1, T]; the sequences are separated by `packed`, so no
        # attention mask is passed. Positions are read by learned embeddings only, not by RoPE.
        return self.ddp(
            batch.tokens_t[None],
            torch.zeros_like(batch.tokens_t)[None],
            None,
            labels=batch.labels_t[None],
            packed_seq_params=packed,
        )


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
        tensor_model_parallel_size=layout.tensor,
        sequence_parallel=layout.sequence_parallel,
        pipeline_model_parallel_size=layout.pipeline,
        pipeline_model_parallel_layout=_stages(layout) if layout.pipeline > 1 else None,
        context_parallel_size=layout.context,
        expert_model_parallel_size=layout.expert,
        # Always given: Megatron's default is the tensor-parallel size.
        expert_tensor_parallel_size=layout.expert_tensor,
        # A stage sends the shape of its activations before them: microbatches differ in length.
        variable_seq_lengths=layout.pipeline > 1 and dispatcher == _ANY_ROWS,
        # A synchronization of the device after each message, which only old NCCL needed.
        batch_p2p_sync=False,
        moe_token_dispatcher_type=dispatcher,
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
        # TransformerEngine's; without it `layer_spec` puts in our own.
        "moe_grouped_gemm": has_cuda() and has_te(),
        "moe_permute_fusion": False,
    }


def _dispatcher(layout: ParallelLayout) -> str:
    """How tokens get to their experts."""
    # gloo can't gather parts of different length, which alltoall needs for experts that are both
    # spread and split. The other dispatcher needs rows of one length on all ranks instead.
    uneven = layout.expert > 1 and layout.expert_tensor > 1
    return _EQUAL_ROWS if uneven and not has_cuda() else _ANY_ROWS


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
        spec.submodules.self_attention.submodules.core_attention = _attention(config)
        return spec, True
    spec = gpt_layer_specs.get_gpt_layer_local_spec(
        num_experts=experts, qk_layernorm=shape.qk_norm, normalization="RMSNorm"
    )
    if experts:
        spec.submodules.mlp.submodules.experts.module = GroupedExperts
    # After the spec is made and before GPTModel reads it; the function returns a new one.
    attention = spec.submodules.self_attention.submodules
    attention.core_attention = _attention(config)
    if shape.qk_norm:
        attention.q_layernorm = attention.k_layernorm = Norm
    spec.submodules.input_layernorm = spec.submodules.pre_mlp_layernorm = Norm
    return spec, False


def _attention(config: TransformerConfig) -> type[TorchAttention]:
    return ContextAttention if config.context_parallel_size > 1 else TorchAttention


def build(
    shape: ModelShape,
    place: Place,
    dtype: torch.dtype,
    row_tokens: int,
    recompute: Recomputation = Recomputation.NONE,
) -> Model:
    """An uninitialized model on this rank's device; `hf_weights.load` fills it. Collective.

    Args:
        recompute: not `Auto`, which `recomputation.resolve` resolves.
    """
    layout = place.layout
    # The groups that exist are those of the layout: Megatron looks them up while it builds.
    assert parallel_state.get_data_parallel_world_size() == layout.data
    assert parallel_state.get_tensor_model_parallel_rank() == place.tensor_rank
    config = transformer_config(shape, layout, dtype, recompute)
    spec, te = layer_spec(shape, config)
    # As a block: with a plain layer spec the final norm would be Megatron's own.
    block = TransformerBlockSubmodules(layer_specs=[spec] * len(place.layers), layer_norm=Norm)
    # Tied embeddings on several stages: the copy is moved by `.cuda()`.
    with device_names() if shape.tied and layout.pipeline > 1 else nullcontext():
        gpt = Policy(
            config=config,
            transformer_layer_spec=spec if te else block,
            vocab_size=padded_vocabulary(shape, layout),
            max_sequence_length=shape.context,
            pre_process=place.first_stage,
            post_process=place.last_stage,
            share_embeddings_and_output_weights=shape.tied,
            position_embedding_type="rope",
            rotary_base=shape.rope_theta,
            parallel_output=True,
        )
    rope.scale(gpt, shape)
    gpt.vocabulary = shape.vocabulary
    _mark_tensor_parallel(gpt)
    module = Float16Module(config, gpt) if config.bf16 else gpt
    # Gradients of many microbatches are summed in FP32: in bf16 small ones would be lost. They are
    # reduced once per step (`optimizer.py`), not during each backward pass.
    options = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True, overlap_grad_reduce=False, use_distributed_optimizer=True
    )
    ddp = DistributedDataParallel(config, options, module.cuda() if has_cuda() else module)
    return Model(shape, place, ddp, gpt, te, row_tokens, recompute)


def _mark_tensor_parallel(gpt: GPTModel) -> None:
    """Marks the weights of which each tensor rank has another part.

    megatron-core 0.16.1 does so only while it initializes them, which `perform_initialization`
    turns off. Unmarked, the gradient norm counts the parts of the first rank only, and clipping is
    wrong without an error.
    """
    split = (
        layers.ColumnParallelLinear,
        layers.RowParallelLinear,
        layers.VocabParallelEmbedding,
    )
    for module in gpt.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, split) and weight is not None:
            dimension = 1 if isinstance(module, layers.RowParallelLinear) else 0
            layers.set_tensor_model_parallel_attributes(weight, True, dimension, 1)
