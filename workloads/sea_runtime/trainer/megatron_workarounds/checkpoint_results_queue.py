"""megatron-core 0.16.1 starts a spawned Manager process for the results of the checkpoint writer.

That process imports torch cold (9 to 17 s in the first save) and outlives a killed trainer. Ours
writes in a thread of its own process (`trainer/checkpoint/writer.py`): a plain queue suffices.
"""

import queue

from megatron.core.dist_checkpointing.strategies import filesystem_async


def apply() -> None:
    filesystem_async._results_queue = queue.Queue()
