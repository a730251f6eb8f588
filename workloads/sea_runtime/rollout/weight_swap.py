"""One weight update of one engine: prefetch, pause, load, resume; and what can go wrong.

    generating ..prefetch.. generating | paused: load       | generating
                                       ^ keep: requests stay ^ weight version = V

Before the pause nothing has happened to the engine, so a failed prefetch costs nothing. Until
`load` has ended the weights are half-loaded: an engine that fails in between is terminated rather
than resumed, since it would generate garbage. So is one that then holds other weights than
the version's, by the sums of `transport/weight_sums.py`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sea_runtime.errors import RuntimeFailure
from sea_runtime.rollout.engine_client import EngineClient, EngineError
from sea_runtime.wire.weights import (
    FailedSource,
    PrefetchState,
    PrefetchStatus,
    ShardLayout,
    WeightVersion,
)

_log = logging.getLogger(__name__)
# Short against a transfer of seconds; one call through the engine's loop per poll.
_POLL_SECONDS = 0.03
PREFETCH_TIMEOUT_SECONDS = 600.0


class PrefetchError(RuntimeFailure):
    """The version could not be fetched; the engine keeps serving the version it had."""

    permanent = False

    def __init__(
        self, message: str, status: PrefetchStatus | None = None, *, hung: bool = False
    ) -> None:
        """
        Args:
            status: of the prefetch, if it was one that failed.
            hung: it didn't end in time.
        """
        super().__init__(message)
        self.hung = hung
        """True if no worker has said what failed: a source may hang."""
        self.failed = tuple(status.failed_sources) if status else ()
        """The sources that were tried; empty if the error is none of theirs."""
        self.unreachable = status.unreachable if status else ""
        """Why other processes' memory can't be read; empty if it can."""


class HalfLoadedError(RuntimeFailure):
    """The update failed while weights were replaced; the engine was terminated."""

    permanent = False


class WrongWeightsError(RuntimeFailure):
    """The engine held other weights than the version's after the update; it was terminated."""

    permanent = False

    def __init__(self, version: int, tensors: Sequence[str]) -> None:
        super().__init__(
            f"After the update to version {version} the engine didn't hold {tensors[0]} and "
            f"{len(tensors) - 1} other tensors as the trainer published them; it restarts. If this "
            "repeats on one node, look at its memory and GPU."
        )
        self.version, self.tensors = version, list(tensors)


@dataclass(frozen=True)
class Timings:
    transport: str
    transfer_s: float
    """Fetching and verifying; generation went on."""
    apply_s: float
    """Replacing the weights; part of the pause."""
    pause_s: float
    """From the request to pause until generation went on."""
    failed: tuple[FailedSource, ...] = ()
    """Sources that were tried before and did not deliver."""
    unreachable: str = ""
    """Why it came from the object store although other processes have it."""


def slowest(statuses: list[PrefetchStatus]) -> PrefetchStatus:
    """The status of an engine as a whole: of a worker that failed, else of the slowest."""
    order = [PrefetchState.FAILED, PrefetchState.IDLE, PrefetchState.RUNNING, PrefetchState.READY]
    found = min(statuses, key=lambda status: (order.index(status.state), -status.seconds))
    failed = {
        (one.transport, one.name): one for status in statuses for one in status.failed_sources
    }
    missing = sorted({name for status in statuses for name in status.missing_layouts})
    together = {
        "failed_sources": list(failed.values()),
        "missing_layouts": missing,
        "unreachable": max(status.unreachable for status in statuses),
        "check": any(status.check for status in statuses),
    }
    return found.model_copy(update=together)


Layouts = Callable[[str], Awaitable[ShardLayout]]
"""Gets a layout by its digest."""


async def _no_layout(digest: str) -> ShardLayout:
    raise PrefetchError(f"The engine's workers don't know the layout {digest}.")


async def prefetch(
    engine: EngineClient, version: WeightVersion, layout: Layouts = _no_layout
) -> PrefetchStatus:
    """Has all workers of the engine fetch the version; generation goes on.

    Raises PrefetchError if a worker can't fetch it, or if it takes longer than
    PREFETCH_TIMEOUT_SECONDS.
    """
    deadline = time.monotonic() + PREFETCH_TIMEOUT_SECONDS
    wanted = (version.version, version.attempt)
    status = slowest(await engine.prefetch(version))
    while time.monotonic() < deadline:
        if status.missing_layouts:
            # Once per engine and layout; afterwards versions only name it.
            for digest in status.missing_layouts:
                await engine.add_layout(digest, await layout(digest))
            status = slowest(await engine.prefetch(version))
            continue
        if (status.version, status.attempt) != wanted:
            # An earlier fetch is still running: ask until the worker starts ours.
            status = slowest(await engine.prefetch(version))
        elif status.state is PrefetchState.READY:
            return status
        elif status.state is PrefetchState.FAILED:
            raise PrefetchError(status.error, status)
        await asyncio.sleep(_POLL_SECONDS)
        if (status.version, status.attempt) == wanted:
            status = slowest(await engine.prefetch_status())
    raise PrefetchError(
        f"Version {version.version} was not fetched within {PREFETCH_TIMEOUT_SECONDS:.0f} s.",
        hung=True,
    )


async def load(engine: EngineClient, version: WeightVersion, *, check: bool) -> float:
    """Replaces the weights of the paused engine; returns seconds.

    Raises HalfLoadedError if loading fails, WrongWeightsError if `check` finds other weights; the
    engine is then terminated.
    """
    started = time.monotonic()
    try:
        wrong = await engine.load(version.version, version.attempt, check=check)
    except asyncio.CancelledError:
        # Our own end must not leave an engine that the next worker finds half-loaded.
        await asyncio.shield(engine.terminate())
        raise
    except Exception as error:
        await engine.terminate()
        raise HalfLoadedError(
            f"Version {version.version} failed to load, the engine restarts: {error!r}"
        ) from error
    if wrong:
        await asyncio.shield(engine.terminate())
        raise WrongWeightsError(version.version, wrong)
    return time.monotonic() - started


async def adopt(
    engine: EngineClient,
    version: WeightVersion,
    fetched: Callable[[], object] = lambda: None,
    layout: Layouts = _no_layout,
) -> Timings:
    """Brings the engine to `version`.

    Raises PrefetchError, HalfLoadedError, WrongWeightsError or EngineError.

    Args:
        fetched: called before the pause: from then on other engines can read the version.
        layout: gets layouts that the version names, where a worker lacks them.
    """
    # Prefetch before the pause: only the copy from host memory happens while requests wait.
    status = await prefetch(engine, version, layout)
    fetched()
    paused = time.monotonic()
    try:
        # Pause before load: a forward pass over half-replaced weights would return garbage.
        await engine.pause(keep_cache=version.keep_cache)
    except BaseException:
        # The engine may have paused although its answer never arrived: its weights are whole.
        await asyncio.shield(_resume(engine))
        raise
    apply_s = await load(engine, version, check=status.check)
    # Shielded: a worker that is stopped here must not leave a good engine paused.
    await asyncio.shield(engine.resume())
    return Timings(
        status.transport,
        status.seconds,
        apply_s,
        time.monotonic() - paused,
        tuple(status.failed_sources),
        status.unreachable,
    )


async def _resume(engine: EngineClient) -> None:
    try:
        await engine.resume()
    except EngineError as error:
        _log.warning("The engine could not be resumed: %s", error)
