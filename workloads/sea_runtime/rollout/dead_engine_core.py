"""Workaround for vLLM 0.32.0: its API server outlives its engine core while an RPC is open.

A call such as `/collective_rpc` waits for the core's answer without a time-out, and nothing fails
the calls that are open when the core ends: neither if its process dies
(`AsyncMPClient._call_utility_async`), nor if it reports that it can't go on because one of its
workers died (`process_outputs_socket`). vLLM's watchdog then tells uvicorn to exit, which first
waits for all open requests: forever. The port is open meanwhile, so only the liveness probe ends
the container, minutes later. Without an open request the server does exit, but with code 0, as if
it had been asked to. Here the process ends with its core; its clients see a closed connection.
"""

import os
import sys
from typing import Any

EXIT_CODE = os.EX_SOFTWARE
_MARK = "_sea_exits"


def exit_with_engine_core() -> None:
    """Patches vLLM in this process, before the server is built; safe to call twice."""
    from vllm.v1.engine.core_client import BackgroundResources
    from vllm.v1.engine.utils import CoreEngineProcManager

    if hasattr(CoreEngineProcManager, _MARK):
        return
    _exit_when_it_dies(CoreEngineProcManager)
    _exit_when_it_gives_up(BackgroundResources)
    setattr(CoreEngineProcManager, _MARK, True)


def _exit_when_it_dies(managers: Any) -> None:
    monitor = managers.monitor_engine_liveness

    def watched(manager: Any) -> None:
        monitor(manager)
        # None where the core ended because it was asked to.
        if manager.failed_proc_name is not None:
            name = manager.failed_proc_name
            _exit(f"process {name} ended with exit code {manager.finished_procs().get(name)}")

    # Called in a thread of the client, which waits for the processes' ends without polling.
    managers.monitor_engine_liveness = watched


def _exit_when_it_gives_up(clients: Any) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    validate = clients.validate_alive

    def validated(resources: Any, frames: Any) -> None:
        try:
            validate(resources, frames)
        except EngineDeadError:
            # Sent only after an error that nothing in the core has caught. Its process ends soon,
            # or never if one of its workers hangs: this container's end is theirs as well.
            _exit("engine core failed, as it does when one of its worker processes dies")

    # Called for every message of the core.
    clients.validate_alive = validated


def _exit(what: str) -> None:
    # The last line of the log becomes the container's termination message.
    sys.stderr.write(
        f"vLLM's {what}; see its last lines above. "
        "The engine ends as well, so that its container restarts.\n"
    )
    sys.stderr.flush()
    # Not sys.exit: this may be a thread, and the main one may wait for the dead core.
    os._exit(EXIT_CODE)
