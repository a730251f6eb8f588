"""Where every weight is stored: Hugging Face tensors <-> the Megatron-core parameters of each rank.

The only place that knows names and slices. `blocks` says which rectangle of which Hugging Face
tensor is which rectangle of which parameter on one rank: loading reads those rectangles, publishing
and export write them. Pure, without torch, so that a layout can be counted before it is built.

Hugging Face keeps one tensor per projection and expert; Megatron fuses q, k, v per KV group, and
gate and up. Tensor parallelism splits fused rows (column parallel) or columns (row parallel).

Shapes: H hidden, D head_dim, G KV groups, P query heads per group, F MLP width, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sea_data.models import tensors
from sea_data.models.tensors import EMBEDDING, HEAD
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import ParallelLayout, Place

VOCABULARY = frozenset({"embedding.word_embeddings.weight", "output_layer.weight"})
"""Parameters whose rows are the vocabulary, padded until the tensor ranks can divide them."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """A run of rows (or columns): `size` of them, from `source` in the tensor, `target` in the
    parameter.
    """

    size: int
    source: int = 0
    target: int = 0


@dataclass(frozen=True)
class Block:
    """parameter[target rows, target columns] == tensor[source rows, source columns]."""

    parameter: str
    tensor: str
    rows: Span
    columns: Span | None
    """None for vectors."""
    expert: bool = False
    """True for a block of an expert: its replicas are the expert-data-parallel ranks."""

    @property
    def numel(self) -> int:
        return self.rows.size * (self.columns.size if self.columns else 1)

    @property
    def source(self) -> tuple[slice, ...]:
        """Index of the block in the Hugging Face tensor."""
        return tuple(slice(one.source, one.source + one.size) for one in self._spans)

    @property
    def target(self) -> tuple[slice, ...]:
        """Index of the block in the parameter."""
        return tuple(slice(one.target, one.target + one.size) for one in self._spans)

    @property
    def _spans(self) -> list[Span]:
        return [self.rows, self.columns] if self.columns else [self.rows]


def tensor_shapes(shape: ModelShape) -> dict[str, Shape]:
    """All Hugging Face tensors of the model, by name, in the order of the layers."""
    return dict(tensors.expected(shape))


def padded_vocabulary(shape: ModelShape, layout: ParallelLayout) -> int:
    """Rows of embedding and head with those that make them divisible; those stay 0."""
    return -(-shape.vocabulary // layout.tensor) * layout.tensor


def parameter_shapes(shape: ModelShape, place: Place) -> dict[str, Shape]:
    """This rank's Megatron parameters (local layer spec), by name."""
    found: dict[str, Shape] = {}
    rows = padded_vocabulary(shape, place.layout) // place.layout.tensor
    for block in blocks(shape, place):
        known = found.get(block.parameter, (0, 0) if block.columns else (0,))
        ends = [one.stop for one in block.target]
        found[block.parameter] = tuple(map(max, known, ends))
    # A rank that has nothing but padding has a parameter without blocks.
    if place.first_stage:
        found["embedding.word_embeddings.weight"] = (rows, shape.hidden)
    if place.last_stage and not (shape.tied and place.first_stage):
        found["output_layer.weight"] = (rows, shape.hidden)
    return found


def blocks_by_parameter(
    shape: ModelShape, place: Place, *, experts: bool = True
) -> dict[str, list[Block]]:
    """`blocks` of a rank, by the parameter that they fill."""
    found: dict[str, list[Block]] = {}
    for block in blocks(shape, place, experts=experts):
        found.setdefault(block.parameter, []).append(block)
    return found


def blocks(shape: ModelShape, place: Place, *, experts: bool = True) -> Iterator[Block]:
    """All blocks of a rank's parameters; every element of its parameters is in exactly one, but
    for the vocabulary's padding.

    Args:
        experts: with the blocks of experts, which are most of them.
    """
    embedding, head = "embedding.word_embeddings.weight", "output_layer.weight"
    if place.first_stage:
        yield from _vocabulary(embedding, EMBEDDING, shape, place)
    for local, layer in enumerate(place.layers):
        names = f"decoder.layers.{local}.", f"model.layers.{layer}."
        yield from _layer(shape, place, *names, experts=experts)
    if place.last_stage:
        yield _vector("decoder.final_layernorm.weight", "model.norm.weight", shape.hidden)
        if not shape.tied:
            yield from _vocabulary(head, HEAD, shape, place)
        elif not place.first_stage:
            # Tied: Megatron keeps a copy of the embedding where the logits are made.
            yield from _vocabulary(head, EMBEDDING, shape, place)


def _layer(
    shape: ModelShape, place: Place, megatron: str, hf: str, *, experts: bool
) -> Iterator[Block]:
    yield _vector(f"{megatron}input_layernorm.weight", f"{hf}input_layernorm.weight", shape.hidden)
    yield from _attention(shape, place, f"{megatron}self_attention.", f"{hf}self_attn.")
    norm = f"{hf}post_attention_layernorm.weight"
    yield _vector(f"{megatron}pre_mlp_layernorm.weight", norm, shape.hidden)
    if shape.experts:
        router = f"{megatron}mlp.router.weight", f"{hf}mlp.gate.weight"
        yield Block(*router, Span(shape.experts), Span(shape.hidden))
        if experts:
            yield from _experts(shape, place, f"{megatron}mlp.", f"{hf}mlp.")
    else:
        mlp = f"{megatron}mlp.{{}}.weight"
        ways, rank = place.layout.tensor, place.tensor_rank
        yield from _gated_mlp(mlp, f"{hf}mlp.", shape.hidden, _share(shape.ffn, ways, rank))


def _attention(shape: ModelShape, place: Place, megatron: str, hf: str) -> Iterator[Block]:
    ways, rank, width = place.layout.tensor, place.tensor_rank, shape.head_dim
    columns = Span(shape.hidden)
    # The fused matrix has, per KV group, the rows of its query heads, then key, then value. A rank
    # holds an equal run of it, whatever that cuts: with fewer groups than ranks, some have no key.
    fused = shape.kv_heads * (shape.heads_per_group + 2) * width
    own = _share(fused, ways, rank)
    at = 0
    for group in range(shape.kv_heads):
        for part, heads in (("q", shape.heads_per_group), ("k", 1), ("v", 1)):
            rows = range(at, at + heads * width)
            at = rows.stop
            overlap = range(max(rows.start, own.start), min(rows.stop, own.stop))
            if overlap:
                source = group * heads * width + overlap.start - rows.start
                span = Span(len(overlap), source, overlap.start - own.start)
                names = f"{megatron}linear_qkv", f"{hf}{part}_proj"
                yield Block(f"{names[0]}.weight", f"{names[1]}.weight", span, columns)
                if shape.qkv_bias:
                    yield Block(f"{names[0]}.bias", f"{names[1]}.bias", span, None)
    for part in "qk" if shape.qk_norm else "":
        yield _vector(f"{megatron}{part}_layernorm.weight", f"{hf}{part}_norm.weight", width)
    heads_here = _share(shape.heads * width, ways, rank)
    yield Block(
        f"{megatron}linear_proj.weight",
        f"{hf}o_proj.weight",
        Span(shape.hidden),
        Span(len(heads_here), heads_here.start),
    )


def _experts(shape: ModelShape, place: Place, megatron: str, hf: str) -> Iterator[Block]:
    share = _share(shape.expert_ffn, place.layout.expert_tensor, place.expert_tensor_rank)
    for local, expert in enumerate(place.local_experts(shape.experts)):
        mlp = f"{megatron}experts.local_experts.{local}.{{}}.weight"
        yield from _gated_mlp(mlp, f"{hf}experts.{expert}.", shape.hidden, share, expert=True)


def _gated_mlp(
    megatron: str, hf: str, hidden: int, share: range, *, expert: bool = False
) -> Iterator[Block]:
    """Blocks of the rank's `share` of the width: gate above up, the same columns of down."""
    for index, part in enumerate(("gate", "up")):
        rows = Span(len(share), share.start, index * len(share))
        name = f"{hf}{part}_proj.weight"
        yield Block(megatron.format("linear_fc1"), name, rows, Span(hidden), expert)
    columns = Span(len(share), share.start)
    down = f"{hf}down_proj.weight"
    yield Block(megatron.format("linear_fc2"), down, Span(hidden), columns, expert)


def _vocabulary(parameter: str, tensor: str, shape: ModelShape, place: Place) -> Iterator[Block]:
    own = _share(padded_vocabulary(shape, place.layout), place.layout.tensor, place.tensor_rank)
    size = min(own.stop, shape.vocabulary) - own.start
    if size > 0:  # otherwise the rank has padding only
        yield Block(parameter, tensor, Span(size, own.start), Span(shape.hidden))


def _vector(parameter: str, tensor: str, size: int) -> Block:
    return Block(parameter, tensor, Span(size), None)


def _share(size: int, ways: int, rank: int) -> range:
    each = size // ways
    assert each * ways == size, (size, ways)
    return range(each * rank, each * (rank + 1))
