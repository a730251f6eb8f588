"""`python -m sea_devcluster.node --config FILE`: one node agent, until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from sea_api import logs
from sea_devcluster.errors import DevclusterError

from .agent import NodeAgent
from .config import NodeConfig, load


def main() -> int:
    """Run the agent; 1 and a sentence on stderr if it can't start."""
    parser = argparse.ArgumentParser(prog="sea_devcluster.node", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the agent's JSON configuration")
    parser.add_argument("--verbose", action="store_true", help="log at debug level")
    options = parser.parse_args()
    logs.configure(level=logging.DEBUG if options.verbose else logging.INFO, role="node")
    try:
        asyncio.run(_run(load(options.config)))
    except DevclusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _run(config: NodeConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        # Before the agent starts: SIGTERM during its start must still stop everything.
        loop.add_signal_handler(one, stop.set)
    await NodeAgent(config).run(stop)


if __name__ == "__main__":
    sys.exit(main())
