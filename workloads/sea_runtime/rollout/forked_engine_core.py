"""Workaround for vLLM 0.32.0 on CPU: it starts its engine core by spawn, importing all twice.

The CPU platform sets `VLLM_WORKER_MULTIPROC_METHOD=spawn` because of OpenMP. With one thread per
process a fork is safe and saves the second import of torch and vLLM: seconds of CPU and hundreds of
MB per engine.
"""

import multiprocessing
from multiprocessing.context import ForkContext


def fork_engine_core() -> None:
    """Makes vLLM fork its engine core; call before the server is built."""
    from vllm.v1.engine import utils

    def forked() -> ForkContext:
        return multiprocessing.get_context("fork")

    # The name in `utils`, which its own functions look up at each call.
    utils.get_mp_context = forked
