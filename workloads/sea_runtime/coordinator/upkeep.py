"""Upkeep of the ledger's volume in the background: its log is copied back, unused files go."""

import asyncio

from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.ledger.durability import copy_back
from sea_runtime.coordinator.ledger.trajectories import Files

REST_SECONDS = 2.0


class Upkeep:
    def __init__(self, ledger: Ledger, files: Files) -> None:
        self._ledger, self._files = ledger, files

    async def look(self) -> None:
        """One pass, then a pause."""
        if self._ledger.available:
            db = self._ledger.db
            await asyncio.to_thread(copy_back, db.path)
            # Asked again: the ledger may have gone back to a checkpoint meanwhile.
            if self._ledger.available and self._ledger.db is db:
                await self._files.sweep(db)
        await asyncio.sleep(REST_SECONDS)
