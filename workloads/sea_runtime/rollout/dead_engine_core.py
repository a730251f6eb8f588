"""Workaround for vLLM 0.32.0: its API server outlives its engine core while an RPC is open.

A call such as `/collective_rpc` waits for the core's answer without a time-out, and nothing fails
the calls that are open when the core's process ends (`AsyncMPClient._call_utility_async`). vLLM's
watchdog then tells uvicorn to exit, which first waits for all open requests: for ever. The port is
open meanwhile, so only the liveness probe ends the container, minutes later. Here the process ends
with its core; its clients see a closed connection.
"""

import os
import sys
from typing import Any

EXIT_CODE = os.EX_SOFTWARE
_MARK = "_sea_exits"


def exit_with_engine_core() -> None:
    """Patches vLLM in this process, before the server is built; safe to call twice."""
    from vllm.v1.engine.utils import CoreEngineProcManager

    if hasattr(CoreEngineProcManager, _MARK):
        return
    monitor = CoreEngineProcManager.monitor_engine_liveness

    def watched(manager: Any) -> None:
        monitor(manager)
        # None where the core ended because it was asked to.
        if manager.failed_proc_name is not None:
            _exit(manager.failed_proc_name, manager.finished_procs())

    # Called in a thread of the client, which waits for the processes' ends without polling.
    CoreEngineProcManager.monitor_engine_liveness = watched
    setattr(CoreEngineProcManager, _MARK, True)


def _exit(name: str, codes: dict[str, int]) -> None:
    # The last line of the log becomes the container's termination message.
    sys.stderr.write(
        f"vLLM's process {name} ended with exit code {codes.get(name)}; see its last lines above. "
        "The engine ends as well, so that its container restarts.\n"
    )
    sys.stderr.flush()
    # Not sys.exit: this is a thread, and the main one may wait for the dead core.
    os._exit(EXIT_CODE)
