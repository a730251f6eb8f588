"""One run from request to data set: what `sea synth` and the job's Synthesis stage both call."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from sea_data import urls
from sea_data.object_store import ObjectStore
from sea_data.synthesis import output, worlds
from sea_data.synthesis.agents.crew import ModelCrew
from sea_data.synthesis.agents.endpoint import Waiting
from sea_data.synthesis.archive import Archive
from sea_data.synthesis.crew import Crew
from sea_data.synthesis.engine import Engine, Progress, beginning
from sea_data.synthesis.journal import FILE, Journal, JournalError
from sea_data.synthesis.keeping import Keeping
from sea_data.synthesis.plan import digest
from sea_data.synthesis.procedural.crew import ProceduralCrew
from sea_data.synthesis.settings import Settings
from sea_data.synthesis.state import State
from sea_data.synthesis.worlds import World
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.domains.database_generator import Size
from sea_env.verify.sandbox.pool import FunctionSandbox

log = logging.getLogger(__name__)


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
    waiting: Waiting = lambda problem: None
    """Told why the model has to be asked again."""
    store: ObjectStore | None = None
    """Where the archive is kept."""
    archive: str = ""
    """S3 folder that keeps journals of this folder's runs, each below its settings' digest. With it
    the folder is a cache: an emptied one is restored, another run's journal makes way."""


def synthesise(request: Request, progress: Progress = lambda _: None) -> State:
    """Runs to the end and writes the data set. Blocking.

    Raises:
        JournalError: the folder holds another run, or somebody writes to it.
        CrewUnavailableError: the model gives no answer; nothing is lost, the run can be resumed.
        DatabaseError, RowError, UnknownDomainError: there is no such world.
        StoreError: the archive can't be read, or not be completed at the end.
    """
    _refuse_leftovers(request)
    found = _worlds(request)
    settings = replace(request.settings, worlds=worlds.fingerprint(found))
    request = replace(request, settings=settings)
    with closing(Journal(request.out)) as journal:
        with ExitStack() as stack:
            if request.archive:
                progress = _kept(stack, request, journal, progress)
            state = asyncio.run(_run(request, found, journal, progress))
        output.write(request.out, journal, found, state)
    return state


def _worlds(request: Request) -> list[World]:
    domain = registry.get(request.settings.domain)
    if request.data:
        return worlds.of_folder(domain, request.data)
    return worlds.made(domain, request.worlds, request.size, request.settings.seed)


def _kept(stack: ExitStack, request: Request, journal: Journal, progress: Progress) -> Progress:
    """The journal as the archive has it, and followed from now on by the archive."""
    header = request.settings.header()
    if journal.first() not in (None, beginning(request.settings)):
        journal.rewrite(())
    assert request.store is not None, "an archive is kept in a store"
    archive = Archive(request.store, urls.join(request.archive, digest(header)))
    if archive.restore(journal):
        log.warning("%s is restored from the store: %d bytes", journal.path, archive.size)
    keeping = stack.enter_context(Keeping(archive, journal.path))

    def told(state: State) -> None:
        keeping.check()
        progress(state)

    return told


async def _run(request: Request, found: list[World], journal: Journal, progress: Progress) -> State:
    async with AsyncExitStack() as stack:
        crew: Crew
        if request.access is None:
            crew = ProceduralCrew(found, request.settings.seed)
        else:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            sandbox = FunctionSandbox()
            stack.push_async_callback(sandbox.close)
            chat = ChatEndpoint(session, request.access)
            seed, model = request.settings.seed, request.access.model
            crew = ModelCrew(chat, model, found, seed, sandbox, request.waiting)
        engine = Engine(request.settings, crew, journal, clock=time.monotonic, progress=progress)
        return await engine.run()


def _refuse_leftovers(request: Request) -> None:
    path = request.out / FILE
    if not request.resume and path.exists() and path.stat().st_size:
        raise JournalError(
            f"{path} holds a run already: pass --resume to go on with it, or choose another folder."
        )
