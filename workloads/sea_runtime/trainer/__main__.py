"""`python -m sea_runtime.trainer`: the trainer pod's entry point, the supervisor."""

import asyncio
import signal

from sea_api import logs
from sea_runtime.trainer import health
from sea_runtime.trainer.settings import PodSettings
from sea_runtime.trainer.supervisor import Supervisor


async def main() -> None:
    settings = PodSettings.from_environment()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    supervisor = Supervisor(settings)
    runner = await health.serve(settings.address, lambda: supervisor.ready)
    try:
        await supervisor.run(stop)
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    logs.configure_pod()
    asyncio.run(main())
