"""One run from request to data set: the entry point of `sea synth` and of the Synthesis stage."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack, ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from sea_data import urls
from sea_data.object_store import ObjectStore
from sea_data.synthesis import dataset, source_database
from sea_data.synthesis.agents.backend import ModelBackend
from sea_data.synthesis.agents.model_client import OnRetry
from sea_data.synthesis.backend import Backend
from sea_data.synthesis.engine import Engine, Progress, first_event
from sea_data.synthesis.journal import FILE, Journal, JournalError
from sea_data.synthesis.journal_archive import JournalArchive, JournalUploader
from sea_data.synthesis.plan import digest
from sea_data.synthesis.procedural.backend import ProceduralBackend
from sea_data.synthesis.run_state import RunSettings, RunState
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.domains.database_generator import Size
from sea_env.verify.sandbox.pool import FunctionSandbox

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SynthesisRequest:
    """What to make, from which databases, and where to put it."""

    settings: RunSettings
    out: Path
    """Folder of the data set and of the journal."""
    data: Path | None = None
    """A folder in tau2-bench's layout; None: generated databases."""
    databases: int = 1
    """Number of generated databases."""
    size: Size = Size.MEDIUM
    """Size of each generated database."""
    access: Address | None = None
    """The model; None: the procedural backend."""
    resume: bool = False
    """Go on with the folder's journal; if False, a folder that has one is refused."""
    on_retry: OnRetry = lambda problem: None
    """Called with the reason each time the model is asked again."""
    store: ObjectStore | None = None
    """Needed if `archive` is set."""
    archive: str = ""
    """S3 folder with the journals of this folder's runs, each below its settings' digest. With it,
    `out` is a cache: an empty one is restored, and another run's journal is replaced."""


def synthesize(request: SynthesisRequest, progress: Progress = lambda _: None) -> RunState:
    """Runs to the end and writes the data set. Blocking.

    Raises:
        JournalError: the folder holds another run, or another process writes to it.
        BackendUnavailableError: the model doesn't answer; the run can be resumed.
        DatabaseError, RowError, UnknownDomainError, NoGeneratorError: the databases can't be read
            or generated.
        StoreError: the archive can't be read, or not be completed at the end.
    """
    # Before the databases are generated, which takes a while.
    _refuse_leftovers(request)
    sources = _sources(request)
    settings = replace(request.settings, databases=source_database.fingerprint(sources))
    request = replace(request, settings=settings)
    # Takes the folder's lock; all that follows is done by one process.
    with closing(Journal(request.out)) as journal:
        # The uploader's end comes before the data set: a store that fails leaves no half of one.
        with ExitStack() as stack:
            if request.archive:
                progress = _archived(stack, request, journal, progress)
            state = asyncio.run(_run(request, sources, journal, progress))
        dataset.write(request.out, journal, sources, state)
    return state


def _sources(request: SynthesisRequest) -> list[SourceDatabase]:
    domain = registry.get(request.settings.domain)
    if request.data:
        return [SourceDatabase.of_folder(domain, request.data)]
    return source_database.generate(domain, request.databases, request.size, request.settings.seed)


def _archived(
    stack: ExitStack, request: SynthesisRequest, journal: Journal, progress: Progress
) -> Progress:
    """Restores the journal from the archive and uploads it while `stack` is open."""
    header = request.settings.header()
    # Another run's journal makes way; its archive, below another digest, is kept.
    if journal.first() not in (None, first_event(request.settings)):
        journal.rewrite(())
    assert request.store is not None, "an archive is kept in a store"
    archive = JournalArchive(request.store, urls.join(request.archive, digest(header)))
    # Restore before the uploader starts: both work on the archive's list of parts.
    if archive.restore(journal):
        log.warning("%s is restored from the store: %d bytes", journal.path, archive.size)
    uploader = stack.enter_context(JournalUploader(archive, journal.path))

    def checked(state: RunState) -> None:
        uploader.check()
        progress(state)

    return checked


async def _run(
    request: SynthesisRequest, sources: list[SourceDatabase], journal: Journal, progress: Progress
) -> RunState:
    async with AsyncExitStack() as stack:
        backend: Backend
        if request.access is None:
            backend = ProceduralBackend(sources, request.settings.seed)
        else:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            sandbox = FunctionSandbox()
            # AsyncExitStack unwinds in reverse: the sandbox is closed before the session.
            stack.push_async_callback(sandbox.close)
            chat = ChatEndpoint(session, request.access)
            seed, model = request.settings.seed, request.access.model
            backend = ModelBackend(chat, model, sources, seed, sandbox, request.on_retry)
        engine = Engine(request.settings, backend, journal, clock=time.monotonic, progress=progress)
        return await engine.run()


def _refuse_leftovers(request: SynthesisRequest) -> None:
    path = request.out / FILE
    if not request.resume and path.exists() and path.stat().st_size:
        raise JournalError(
            f"{path} holds a run already: pass --resume to go on with it, or choose another folder."
        )
