"""Replays the experts that the engine chose for each token (`rollout.routerReplay`).

Engine and trainer round differently, so near-ties of a router fall differently: about a tenth of
the choices, which makes the ratio of their probabilities noisy on most tokens. With the engine's
choice the trainer computes the same function of the same experts; the router is trained through
the probabilities of those. The idea: Rollout Routing Replay, https://arxiv.org/abs/2510.11370.

`packed_row.py` lays the choices out, `Model.forward` hands them to the routers before each pass.
megatron-core 0.16.1 asks an object that a router holds (`router_replay`) for its top-k. Its own
`RouterReplay` can't leave single tokens to the router, as padding needs it.

Shape suffixes: t tokens of this rank, l layers of this rank, k chosen experts per token.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from megatron.core.transformer.moe.router import TopKRouter
from torch import Tensor, nn

from sea_runtime.trainer.packed_row import CHOOSE


class LayerReplay:
    """What one layer's router takes instead of its own choice; Megatron calls `get_replay_topk`."""

    def __init__(self, *, recomputed: bool) -> None:
        """`recomputed`: the backward pass runs the router again."""
        self._recomputed = recomputed
        self._current_tk: Tensor | None = None
        self._pending: deque[Tensor | None] = deque()

    def begin(self, experts_tk: Tensor | None) -> None:
        """Call before each forward pass."""
        self._current_tk = experts_tk
        # Several microbatches are under way in a pipeline. Their backward passes come in the order
        # of their forward passes (1F1B), each with one recomputation.
        if self._recomputed and torch.is_grad_enabled():
            self._pending.append(experts_tk)

    def clear(self) -> None:
        self._current_tk = None
        self._pending.clear()

    def get_replay_topk(
        self,
        scores: Tensor,
        topk: int,
        num_groups: int | None = None,
        group_topk: int | None = None,
        default_compute_topk: Callable[..., tuple[Tensor, Tensor]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The scores [T, E] of the chosen experts and these, [T, k] both; Megatron's signature."""
        assert default_compute_topk is not None
        own = default_compute_topk(scores, topk, num_groups=num_groups, group_topk=group_topk)
        experts_tk = self._recorded()
        if experts_tk is None:
            return own
        chosen_tk = torch.where(experts_tk == CHOOSE, own[1], experts_tk.long())
        return scores.gather(1, chosen_tk), chosen_tk

    def _recorded(self) -> Tensor | None:
        # Checkpointed layers run without gradients first; with them they are run again.
        if self._recomputed and torch.is_grad_enabled():
            return self._pending.popleft()
        return self._current_tk


class RouterReplay:
    """The routers of a rank's layers."""

    def __init__(self, model: nn.Module, *, recomputed: bool) -> None:
        """Takes the choice out of the hands of the model's routers, if it has any."""
        # In the order of the layers.
        routers: list[Any] = [one for one in model.modules() if isinstance(one, TopKRouter)]
        self._layers = [LayerReplay(recomputed=recomputed) for _ in routers]
        for router, layer in zip(routers, self._layers, strict=True):
            router.router_replay = layer

    def begin(self, experts_tlk: Tensor | None, read: Tensor | None = None) -> None:
        """Call before each forward pass; None: the routers choose.

        Args:
            read: positions that the last layer computes; None: all.
        """
        for index, layer in enumerate(self._layers):
            experts_tk = None if experts_tlk is None else experts_tlk[:, index]
            if experts_tk is not None and read is not None and layer is self._layers[-1]:
                experts_tk = experts_tk[read]
            layer.begin(experts_tk)

    def clear(self) -> None:
        """Call before a run of passes: one that failed may have left something."""
        for layer in self._layers:
            layer.clear()
