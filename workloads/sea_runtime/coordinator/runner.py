"""Background work: five loops, each a level-triggered pass over what is missing.

A kill between any two steps of a pass costs nothing but the repetition.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

from sea_data.object_store import StoreError
from sea_runtime.coordinator import opening, preparing, progressing, synthesis
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.data.problems import DataProblem
from sea_runtime.coordinator.errors import LedgerError
from sea_runtime.coordinator.setbacks import Setbacks

log = logging.getLogger(__name__)

PROBE_S = 5.0
AFTER_ERROR_S = 3.0


async def forever(name: str, step: Callable[[], Awaitable[None]], setbacks: Setbacks) -> None:
    """Repeats a pass; one that breaks is logged, kept in `setbacks` and tried again."""
    while True:
        try:
            await step()
        except asyncio.CancelledError:
            raise
        except (StoreError, LedgerError, DataProblem, sqlite3.OperationalError) as error:
            if setbacks.failed(name, error):
                log.warning("%s: %s", name, error)
            await asyncio.sleep(AFTER_ERROR_S)
        except Exception as error:
            log.exception("%s broke off; it starts again", name)
            setbacks.failed(name, error)
            await asyncio.sleep(AFTER_ERROR_S)
        else:
            setbacks.over(name)


def start(core: Coordinator) -> list[asyncio.Task[None]]:
    """All loops as tasks; cancel them to stop."""
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        opening.PART: lambda: opening.open_ledger(core),
        "data": lambda: preparing.look(core),
        "stages": lambda: progressing.tick(core),
        "store": lambda: probe(core),
        "synthesis": lambda: synthesis.tick(core),
    }
    return [
        asyncio.create_task(forever(name, step, core.setbacks), name=name)
        for name, step in loops.items()
    ]


async def probe(core: Coordinator) -> None:
    """Keeps `/readyz` honest about the object store."""
    core.store_reachable = await asyncio.to_thread(_reachable, core)
    await asyncio.sleep(PROBE_S)


def _reachable(core: Coordinator) -> bool:
    if core.adopted is None:
        return True
    try:
        core.probe.exists(core.adopted.run_url.rstrip("/") + "/base/READY.json")
    except StoreError as error:
        log.warning("the object store does not answer: %s", error)
        return False
    return True
