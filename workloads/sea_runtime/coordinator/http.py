"""What all routes share: the job's token, JSON in and out, errors as statuses."""

import asyncio
import hmac
import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import BaseModel, ValidationError

from sea_api.errors import SeaError
from sea_data.object_store import StoreError
from sea_runtime.client import calls
from sea_runtime.coordinator.background import Notifier
from sea_runtime.coordinator.errors import (
    CoordinatorFailure,
    LedgerUnavailableError,
    NotReadyError,
    RefusedError,
)
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.ledger.durability import Durability
from sea_runtime.coordinator.problems import Problems, Source

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)
RECHECK_SECONDS = 60.0
"""Longest wait between two looks at the budget; a body that ends wakes the next at once."""
READ_SECONDS = 15.0
"""How long a caller waits for an answer, on top of the time to send its body."""
MAX_INTEGER = 2**63 - 1
"""What a column of the ledger can hold."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Receive = Callable[[str, Model], None]


OPEN_PATHS = frozenset({"/healthz", "/readyz"})


def guard(token: str) -> Middleware:
    """Middleware that requires `Authorization: Bearer <token>` on all but the kubelet's probes."""
    wanted = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        # Bytes: `compare_digest` raises TypeError for text that isn't ASCII.
        given = request.headers.get("Authorization", "").encode()
        if request.path not in OPEN_PATHS and not hmac.compare_digest(given, wanted):
            return _refuse(401, "This call needs the job's token as 'Authorization: Bearer ...'.")
        return await handler(request)

    return check


def failures(problems: Problems) -> Middleware:
    """Middleware that answers our errors with their status and sentence."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        # 503, so that clients repeat the call.
        except StoreError as error:
            return _refuse(NotReadyError.status, str(error))
        except LedgerUnavailableError as error:  # the volume is full: callers come again
            if problems.failed(Source.CALLS, error):
                log.exception("%s %s", request.method, request.path)
            return _refuse(error.status, str(error))
        except CoordinatorFailure as error:
            return _refuse(error.status, str(error))

    return answer


def durable(ledger: Ledger, durability: Durability) -> Middleware:
    """Middleware that holds an answer back until everything it may report is on the disk.

    Any answer, not just the one to the call that changed something: a caller that reads the state
    sees what others have changed.
    """

    @web.middleware
    async def wait(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            if ledger.available:
                await durability.wait(ledger.db)

    return wait


async def body(request: web.Request, model: type[Model]) -> Model:
    """The request's JSON; raises RefusedError naming what is wrong with it."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        raise RefusedError(f"The body is not a {model.__name__}: {error}") from error


def number(request: web.Request, name: str, least: int = 0) -> int:
    """A number of the query or path, at most as large as SQLite's; RefusedError for any other."""
    text = request.match_info.get(name) or request.query.get(name, "")
    try:
        found = int(text)
    except ValueError:
        # Out of range on purpose: one message for both mistakes.
        found = least - 1
    if not least <= found <= MAX_INTEGER:
        raise RefusedError(f"'{name}' must be a whole number from {least}, it is '{text[:99]}'.")
    return found


def seconds(request: web.Request, name: str, most: float) -> float:
    """Seconds of the query, 0 if there are none, cut at `most`; RefusedError for no number."""
    text = request.query.get(name, "0")
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    # False for NaN too, which compares false with everything.
    if not 0 <= found < math.inf:
        raise RefusedError(f"'{name}' must be a number of seconds, it is '{text[:99]}'.")
    return min(found, most)


def streamed(pieces: Iterator[bytes], nbytes: int, content_type: str) -> web.Response:
    """An answer whose body is read in threads, piece by piece, as fast as the caller takes it.

    Args:
        nbytes: of all pieces. A body that breaks off is shorter, which its reader notices.
    """
    # The body of a `Response`, not a `StreamResponse`: it is sent after the middlewares, and what
    # it reports must be durable first.
    headers = {"Content-Type": content_type, "Content-Length": str(nbytes)}
    return web.Response(body=_in_threads(pieces), headers=headers)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    except SeaError as error:
        # The status has left: all that can be done is to end the connection.
        log.warning("an answer breaks off: %s", error)
        raise ConnectionAbortedError(str(error)) from error


class BodyBudget:
    """A byte budget for request bodies in memory; what exceeds it waits in its callers' sockets.

    With experts to replay a result has up to 256 MB, and all engines may send theirs at once.

    Args:
        nbytes: the budget; a larger body takes all of it.
    """

    def __init__(self, nbytes: int) -> None:
        self._nbytes = self._free = nbytes
        self._turn, self._freed = asyncio.Lock(), Notifier()

    @asynccontextmanager
    async def reserve(self, request: web.Request) -> AsyncIterator[None]:
        """Holds the bytes of the request's body, which is read inside by `whole`; waits for them
        first.
        """
        wanted = min(request.content_length or 0, self._nbytes)
        # In order of arrival: small bodies must not starve a large one.
        async with self._turn:
            while self._free < wanted:
                await self._freed.wait(RECHECK_SECONDS)
            self._free -= wanted
        try:
            yield
        finally:
            self._free += wanted
            self._freed.notify()


async def whole(request: web.Request) -> bytes:
    """The request's body.

    Raises:
        NotReadyError: it doesn't arrive in the time that its caller has. A node that was lost
            closes no connection: the budget of its results would never be free again.
    """
    nbytes = request.content_length or 0
    limit = calls.read_timeout(READ_SECONDS, 0.0, nbytes)
    try:
        async with asyncio.timeout(limit):
            return await request.read()
    except TimeoutError as error:
        raise NotReadyError(
            f"A body of {nbytes} bytes did not arrive within {limit:.0f} s. Send it again."
        ) from error


def forwards(
    model: type[Model], part: str, receiver: Callable[[web.Application], Receive[Model]]
) -> Handler:
    """A handler that passes a message on to a component and answers with an empty object.

    Args:
        part: of the path, which names what the message is about: the method's first argument.
        receiver: finds the component's method.
    """

    async def handle(request: web.Request) -> web.Response:
        message = await body(request, model)
        receiver(request.app)(request.match_info[part], message)
        return done()

    return handle


def reply(message: BaseModel) -> web.Response:
    return web.Response(text=message.model_dump_json(), content_type="application/json")


def done() -> web.Response:
    return web.json_response({})


def _refuse(status: int, message: str) -> web.Response:
    text = json.dumps({"error": message})
    return web.Response(status=status, text=text, content_type="application/json")
