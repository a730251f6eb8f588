"""Source databases, runs and played models of several tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sea_data.synthesis import dataset, source_database
from sea_data.synthesis.backend import Backend
from sea_data.synthesis.engine import Engine
from sea_data.synthesis.journal import Journal
from sea_data.synthesis.procedural.backend import ProceduralBackend
from sea_data.synthesis.run_state import RunSettings, RunState
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.domains import registry
from sea_env.domains.database_generator import Size
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_testing.played import PLANS, RETAIL, TELECOM, Play, PlayedModel
from sea_testing.team import Team, served

Run = Callable[..., RunState]


@pytest.fixture(scope="session")
def sources_of() -> Callable[[str], list[SourceDatabase]]:
    """`sources_of(domain)`: two small generated databases."""
    known: dict[str, list[SourceDatabase]] = {}

    def get(name: str) -> list[SourceDatabase]:
        if name not in known:
            known[name] = source_database.generate(registry.get(name), 2, Size.SMALL, 0)
        return known[name]

    return get


@pytest.fixture(scope="session")
def run() -> Run:
    """`run(folder, settings, sources, backend=None)`: one run to its end, data set written."""

    def go(
        folder: Path,
        settings: RunSettings,
        found: list[SourceDatabase],
        backend: Backend | None = None,
    ) -> RunState:
        journal = Journal(folder)
        try:
            engine = Engine(
                settings,
                backend or ProceduralBackend(found, settings.seed),
                journal,
                clock=time.monotonic,
            )
            state = asyncio.run(engine.run())
            dataset.write(folder, journal, found, state)
        finally:
            journal.close()
        return state

    return go


@pytest.fixture
async def sandbox() -> AsyncIterator[FunctionSandbox]:
    sandbox = FunctionSandbox(processes=2)
    yield sandbox
    await sandbox.close()


@pytest.fixture(params=[RETAIL, TELECOM], ids=lambda play: play.domain)
async def team(
    request: pytest.FixtureRequest,
    sources_of: Callable[[str], list[SourceDatabase]],
    sandbox: FunctionSandbox,
) -> AsyncIterator[Team]:
    """A backend of a played model, once in each of two domains."""
    play: Play = request.param
    async with _team(play, sources_of(play.domain)[0], sandbox) as team:
        yield team


@pytest.fixture
async def retail(
    sources_of: Callable[[str], list[SourceDatabase]], sandbox: FunctionSandbox
) -> AsyncIterator[Team]:
    """The same in one domain."""
    async with _team(RETAIL, sources_of("retail")[0], sandbox) as team:
        yield team


@asynccontextmanager
async def _team(
    play: Play, source: SourceDatabase, sandbox: FunctionSandbox
) -> AsyncIterator[Team]:
    model = PlayedModel(source, play, PLANS)
    async with served(model.handle) as url:
        yield Team(model, url, source, sandbox)
