"""The engine container's program, whose workers damage a parameter when they are asked to.

`POST /collective_rpc` with the method `sea_damage` flips one bit of the named parameter at the end
of the next update, as broken memory or a wrong copy would.
"""

from typing import Any

import torch

from sea_runtime.rollout import server
from sea_runtime.rollout.vllm_plugin import transfer_engine

_names: list[str] = []


def sea_damage(_worker: Any, name: str) -> None:
    """Asks for it."""
    _names.append(name)


def _finish_and_damage(engine: Any) -> None:
    _finish(engine)
    while _names:
        parameter = engine.model.get_parameter(_names.pop())
        parameter.data.view(torch.uint8).view(-1)[5] ^= 1


_finish = transfer_engine.SeaWeightTransferEngine.finish_weight_update

if __name__ == "__main__":
    # Before the server forks its engine core, which inherits both.
    setattr(transfer_engine.SeaWorker, sea_damage.__name__, sea_damage)
    engine_class: Any = transfer_engine.SeaWeightTransferEngine
    engine_class.finish_weight_update = _finish_and_damage
    server.main()
