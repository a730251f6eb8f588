"""One run from request to data set: what `sea synth` and the job's Synthesis stage both call."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from sea_workloads.chat.endpoint import Address, ChatEndpoint
from sea_workloads.domains import registry
from sea_workloads.domains.worlds import Size
from sea_workloads.synthesis import output, worlds
from sea_workloads.synthesis.agents.crew import ModelCrew
from sea_workloads.synthesis.crew import Crew
from sea_workloads.synthesis.engine import Engine, Progress
from sea_workloads.synthesis.journal import FILE, Journal, JournalError
from sea_workloads.synthesis.procedural.crew import ProceduralCrew
from sea_workloads.synthesis.settings import Settings
from sea_workloads.synthesis.state import State
from sea_workloads.synthesis.worlds import World


@dataclass(frozen=True)
class Request:
    """What to make, in which world, and where."""

    settings: Settings
    out: Path
    """Folder of the data set and of the journal."""
    data: Path | None = None
    """A folder in tau2-bench's layout; None: worlds of our own making."""
    worlds: int = 1
    """How many of our own making."""
    size: Size = Size.MEDIUM
    """Of each of them."""
    access: Address | None = None
    """The model; None: procedural workers."""
    resume: bool = False
    """Go on with the folder's journal; without it a folder that holds one is refused."""


def synthesise(request: Request, progress: Progress = lambda _: None) -> State:
    """Runs to the end and writes the data set. Blocking.

    Raises:
        JournalError: the folder holds another run, or somebody writes to it.
        CrewUnavailableError: the model gives no answer; nothing is lost, the run can be resumed.
        DatabaseError, RowError, UnknownDomainError: there is no such world.
    """
    _refuse_leftovers(request)
    domain = registry.get(request.settings.domain)
    found = (
        worlds.of_folder(domain, request.data)
        if request.data
        else worlds.made(domain, request.worlds, request.size, request.settings.seed)
    )
    journal = Journal(request.out)
    try:
        state = asyncio.run(_run(request, found, journal, progress))
        output.write(request.out, journal, found, state)
    finally:
        journal.close()
    return state


async def _run(request: Request, found: list[World], journal: Journal, progress: Progress) -> State:
    async with AsyncExitStack() as stack:
        crew: Crew
        if request.access is None:
            crew = ProceduralCrew(found, request.settings.seed)
        else:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            chat = ChatEndpoint(session, request.access)
            crew = ModelCrew(chat, request.access.model, found, request.settings.seed)
        engine = Engine(request.settings, crew, journal, clock=time.monotonic, progress=progress)
        return await engine.run()


def _refuse_leftovers(request: Request) -> None:
    path = request.out / FILE
    if not request.resume and path.exists() and path.stat().st_size:
        raise JournalError(
            f"{path} holds a run already: pass --resume to go on with it, or choose another folder."
        )
