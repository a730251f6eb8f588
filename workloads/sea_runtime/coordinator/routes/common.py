"""What all routes share: the application's coordinator, JSON in and out, errors as statuses."""

import json
import logging
import math
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from sea_data.object_store import StoreError
from sea_runtime.coordinator.core import Coordinator
from sea_runtime.coordinator.errors import CoordinatorFault, NotReadyError, RefusedError
from sea_runtime.coordinator.setbacks import CALLS

log = logging.getLogger(__name__)

CORE: web.AppKey[Coordinator] = web.AppKey("coordinator", Coordinator)
Model = TypeVar("Model", bound=BaseModel)
LARGEST = 2**63 - 1
"""What a column of the ledger can hold."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def core_of(request: web.Request) -> Coordinator:
    return request.app[CORE]


async def body(request: web.Request, model: type[Model]) -> Model:
    """The request's JSON; raises RefusedError naming what is wrong with it."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        raise RefusedError(f"The body is no {model.__name__}: {error}") from error


def number(request: web.Request, name: str, least: int = 0) -> int:
    """A number of the query or path, as large as SQLite's at most; RefusedError for any other."""
    text = request.match_info.get(name) or request.query.get(name, "")
    try:
        found = int(text)
    except ValueError:
        found = least - 1
    if not least <= found <= LARGEST:
        raise RefusedError(f"'{name}' must be a whole number from {least}, it is '{text[:99]}'.")
    return found


def seconds(request: web.Request, name: str, most: float) -> float:
    """Seconds of the query, 0 where there are none, cut at `most`; RefusedError for no number."""
    text = request.query.get(name, "0")
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise RefusedError(f"'{name}' must be a number of seconds, it is '{text[:99]}'.")
    return min(found, most)


def reply(message: BaseModel) -> web.Response:
    return web.Response(text=message.model_dump_json(), content_type="application/json")


def done() -> web.Response:
    return web.json_response({})


@web.middleware
async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Our exceptions as statuses with their sentence."""
    try:
        return await handler(request)
    except StoreError as error:
        return _refuse(NotReadyError.status, str(error))
    except sqlite3.OperationalError as error:  # the volume is full: callers come again
        if core_of(request).setbacks.failed(CALLS, error):
            log.exception("%s %s", request.method, request.path)
        return _refuse(NotReadyError.status, f"The ledger can't be written: {error}.")
    except OverflowError as error:  # SQLite's; what the request has changed is undone
        return _refuse(RefusedError.status, f"A number in the request is too large: {error}.")
    except CoordinatorFault as error:
        return _refuse(error.status, str(error))


def _refuse(status: int, message: str) -> web.Response:
    text = json.dumps({"error": message})
    return web.Response(status=status, text=text, content_type="application/json")
