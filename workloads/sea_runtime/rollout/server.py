"""The engine container's final program: vLLM's OpenAI server, with our start-up savings.

`engine` prepares the folder, arguments and environment, then replaces itself with this module, so
that the variables are set before torch and vLLM are imported.
"""

import os

from sea_runtime.rollout.dead_engine_core import exit_with_engine_core

FORK_VARIABLE = "SEA_FORK_ENGINE_CORE"


def main() -> None:
    """Serves until SIGTERM; the arguments are vLLM's."""
    if os.environ.get(FORK_VARIABLE) == "1":
        # Before vLLM's own import: `serve` builds the engine core with what is patched here.
        from sea_runtime.rollout.forked_engine_core import fork_engine_core

        fork_engine_core()
    exit_with_engine_core()
    # Imported here: the variables of `engine_args.environment` are read when vLLM is imported.
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    serve()


if __name__ == "__main__":
    main()
