"""Worlds and runs that several tests look at; made once."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sea_workloads.domains import registry
from sea_workloads.domains.worlds import Size
from sea_workloads.synthesis import output, worlds
from sea_workloads.synthesis.crew import Crew
from sea_workloads.synthesis.engine import Engine
from sea_workloads.synthesis.journal import Journal
from sea_workloads.synthesis.procedural.crew import ProceduralCrew
from sea_workloads.synthesis.settings import Settings
from sea_workloads.synthesis.state import State
from sea_workloads.synthesis.worlds import World

Run = Callable[..., State]


@pytest.fixture(scope="session")
def world() -> Callable[[str], list[World]]:
    """The small worlds of a domain."""
    known: dict[str, list[World]] = {}

    def get(name: str) -> list[World]:
        if name not in known:
            known[name] = worlds.made(registry.get(name), 2, Size.SMALL, 0)
        return known[name]

    return get


@pytest.fixture(scope="session")
def run() -> Run:
    """`run(folder, settings, worlds, crew=None)`: one run to its end, data set written."""

    def go(folder: Path, settings: Settings, found: list[World], crew: Crew | None = None) -> State:
        journal = Journal(folder)
        try:
            engine = Engine(
                settings,
                crew or ProceduralCrew(found, settings.seed),
                journal,
                clock=time.monotonic,
            )
            state = asyncio.run(engine.run())
            output.write(folder, journal, found, state)
        finally:
            journal.close()
        return state

    return go
