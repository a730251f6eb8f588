"""The model's last layer, computed only for tokens whose log-probability is read.

No later layer attends to the last layer's output, so tokens whose log-probability no loss reads
(prompts, users' turns and tools' answers) don't need it. Only their keys and values are computed;
their queries, attention, output projection, MLP or experts, and the final norm aren't. Values and
gradients equal those of the whole layer.

Where a third of the tokens is read, a model of 4 layers saves up to a sixth of its step, one of 94
layers less than a hundredth. The pipeline stage that also has the head is the one relieved.

Shape suffixes: t tokens of a row, r of them are read, h hidden.
"""

from dataclasses import replace
from typing import Any

from megatron.core.transformer.attention import SelfAttention
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_layer import TransformerLayer
from torch import Tensor
from torch.nn import functional

from sea_runtime.parallel.parallel_layout import ParallelLayout
from sea_runtime.trainer.attention import RowParams

MAX_READ_FRACTION = 0.75
"""Of a row's tokens; where more are read, gathering them costs what it saves."""


def applies(layout: ParallelLayout, *, te: bool, equal_rows: bool) -> bool:
    """True if the last layer can compute some of a row's tokens alone.

    Args:
        te: layers are TransformerEngine's, whose projections contain the norm before them.
        equal_rows: tokens get to their experts by a dispatcher that wants as many on each rank.
    """
    # Otherwise a rank has only a part of the row, and which tokens are read differs by rank.
    whole_rows = layout.tensor == 1 and layout.context == 1
    return whole_rows and not te and not equal_rows


def chosen(read: Any, tokens: int) -> list[int] | None:
    """Positions that the last layer computes of a row; None: all.

    Args:
        read: positions whose log-probability is read, sorted.
        tokens: of the row.
    """
    if len(read) > MAX_READ_FRACTION * tokens:
        return None
    # At least one: each rank takes part in the experts' collectives.
    return [int(position) for position in read] or [0]


class LastLayer(TransformerLayer):
    """A TransformerLayer that returns [R, 1, H] where the row says which tokens are read."""

    def _forward_attention(
        self, hidden_states: Tensor, *args: Any, **options: Any
    ) -> tuple[Tensor, Any]:
        row: RowParams = options["packed_seq_params"]
        index = row.read_index
        if index is None:
            whole: tuple[Tensor, Any] = super()._forward_attention(hidden_states, *args, **options)
            return whole
        normed_t1h = self.input_layernorm(hidden_states)
        angles = options["rotary_pos_emb"]
        attended_r1h, _ = self.self_attention(
            normed_t1h[index],
            attention_mask=None,
            key_value_states=normed_t1h,
            rotary_pos_emb=(angles[index], angles),
            packed_seq_params=row.read,
        )
        return hidden_states[index] + attended_r1h, options.get("context")


class ReadAttention(SelfAttention):
    """Self-attention whose queries may be those of some tokens."""

    def get_query_key_value_tensors(
        self, hidden_states: Tensor, key_value_states: Tensor | None = None, **options: Any
    ) -> Any:
        """Query [R, 1, heads, D] of `hidden_states`, key and value [T, 1, groups, D] of
        `key_value_states`; without these all of `hidden_states`.
        """
        if key_value_states is None:
            return super().get_query_key_value_tensors(hidden_states, None, **options)
        query = self._projected(hidden_states, slice(0, -2)).flatten(2, 3)
        key, value = self._projected(key_value_states, slice(-2, None)).unbind(3)
        if self.q_layernorm is not None:
            query, key = self.q_layernorm(query), self.k_layernorm(key)
        return query, key, value

    def _projected(self, hidden_t1h: Tensor, part: slice) -> Tensor:
        """[T, 1, groups, parts, D], of each group's queries, key and value those of `part`."""
        groups, width = self.num_query_groups_per_partition, self.hidden_size_per_attention_head
        # Rows of the weight: of each group its queries, then its key and its value.
        weight, bias = (
            None if one is None else one.unflatten(0, (groups, -1, width))[:, part].flatten(0, 2)
            for one in (self.linear_qkv.weight, self.linear_qkv.bias)
        )
        return functional.linear(hidden_t1h, weight, bias).unflatten(2, (groups, -1, width))


def spec_of(spec: ModuleSpec) -> ModuleSpec:
    """The last layer's spec, of that of the other layers."""
    attention = replace(spec.submodules.self_attention, module=ReadAttention)
    submodules = replace(spec.submodules, self_attention=attention)
    return replace(spec, module=LastLayer, submodules=submodules)
