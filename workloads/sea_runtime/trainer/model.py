"""Builds a rank's part of a Qwen3(-MoE) model as Megatron's GPTModel, wrapped for data parallelism.

After `process_groups.join` and `build_model_parallel_groups`, before `hf_weights.load`; the passes
run in `pipeline.py`. The modules are chosen in `megatron_config.py` and `gpt.py`.

Shape suffixes: t tokens of this rank's part of a packed row, v vocabulary, h hidden.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.tensor_parallel import layers
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from torch import Tensor

from sea_api.v1alpha1.trainer_memory import Recomputation
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout, Place
from sea_runtime.parallel.row_balance import SequenceWork
from sea_runtime.parallel.weight_map import padded_vocabulary
from sea_runtime.trainer import last_layer, megatron_config, packed_row, packing, rope
from sea_runtime.trainer.attention import RowParams
from sea_runtime.trainer.device import device_names, has_cuda, training_device
from sea_runtime.trainer.gpt import Norm, Policy
from sea_runtime.trainer.packed_row import Choices, MicrobatchTensors
from sea_runtime.trainer.packing import Grid, Microbatch
from sea_runtime.trainer.router_replay import RouterReplay
from sea_runtime.trainer.shared_prefixes import PerToken, Rows


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
    replay: RouterReplay
    """What the routers take instead of their own choice."""
    reads: bool
    """The last layer is this rank's, and computes only tokens that are read (`last_layer.py`)."""

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
            equal_rows=config.moe_token_dispatcher_type == megatron_config.EQUAL_ROWS,
        )

    def plan(self, tokens: Rows, chosen: Sequence[int], wanted: PerToken) -> list[Microbatch]:
        """The microbatches of the chosen sequences; the same on every rank.

        Args:
            wanted: non-zero on the tokens whose log-probability is read, [S] per sequence: that of
                others may not be computed.
        """
        work = SequenceWork.of(self.shape)
        return packing.plan_chosen(tokens, chosen, wanted, self.grid, self.row_tokens, work)

    def microbatches(
        self,
        microbatches: Sequence[Microbatch],
        tokens: Rows,
        wanted: PerToken,
        choices: Choices | None = None,
    ) -> Iterator[MicrobatchTensors]:
        """This rank's part of each microbatch, with labels where `wanted` is not 0.

        Every rank runs the model on all of them, in this order: each forward and backward pass is
        a collective among the ranks that share experts.
        """
        device = training_device()
        return packed_row.iter_microbatches(
            microbatches, self.grid, self.place, tokens, wanted, device, choices
        )

    def forward(
        self, batch: MicrobatchTensors, temperature: float = 1.0, *, entropy: bool = False
    ) -> Tensor:
        """[2, T] on the last stage, log p of each label and (if asked for) the entropy of its
        distribution; what the next stage needs on others.

        No sequence sees another, but for a prompt that they share, and each counts its positions
        from 0 (Megatron's `thd` format).
        """
        place, device = self.place, batch.tokens_t.device
        read = last_layer.chosen(batch.read, len(batch.part)) if self.reads else None
        packed = RowParams.of(batch.row, self.layout.context, place.context_rank, device, read)
        self.gpt.temperature, self.gpt.entropy = temperature, entropy
        experts_tlk = batch.experts_tlk
        if experts_tlk is not None and self.layout.sequence_parallel:
            # As the hidden states: each tensor rank's routers have consecutive tokens.
            experts_tlk = experts_tlk.chunk(self.layout.tensor)[place.tensor_rank]
        self.replay.begin(experts_tlk, packed.read_index)
        # Megatron wants a batch dimension, [1, T]; the sequences are separated by `packed`, so no
        # attention mask is passed. Positions are read by learned embeddings only, not by RoPE.
        return self.ddp(
            batch.tokens_t[None],
            torch.zeros_like(batch.tokens_t)[None],
            None,
            labels=batch.labels_t[None],
            packed_seq_params=packed,
        )


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
    config = megatron_config.transformer_config(shape, layout, dtype, recompute)
    spec, te = megatron_config.layer_spec(shape, config)
    specs = [spec] * len(place.layers)
    equal_rows = config.moe_token_dispatcher_type == megatron_config.EQUAL_ROWS
    reads = place.last_stage and bool(specs)
    reads = reads and last_layer.applies(layout, te=te, equal_rows=equal_rows)
    if reads:
        specs[-1] = last_layer.spec_of(spec)
    # As a block: with a plain layer spec the final norm would be Megatron's own.
    block = TransformerBlockSubmodules(layer_specs=specs, layer_norm=Norm)
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
    # Of a dense model no router: selective recomputation is of the MLP there.
    replay = RouterReplay(gpt, recomputed=recompute is not Recomputation.NONE)
    return Model(shape, place, ddp, gpt, te, row_tokens, recompute, replay, reads)


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
