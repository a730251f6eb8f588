"""One log format for operator and pods: a JSON object per line, with job, role, rank, attempt.

Modules log through `logging.getLogger(__name__)`, with `extra={...}` for fields of one line. Entry
points call `configure` or, in a pod of a job, `configure_pod`, once and before anything else.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog

from sea_api.contract import Env
from sea_api.redaction import redacted

_QUIET = ("kopf", "aiohttp.access", "asyncio", "botocore", "urllib3")
"""Loggers of libraries that are too verbose below WARNING."""

_SCALARS = (str, int, float, bool, type(None))
_INTERNAL = ("exc_info", "stack_info", "_record", "_from_structlog")
"""Keys by which structlog's own processors hand things on."""

# Not structlog's contextvars: a thread starts with an empty context and would lose them.
_CONTEXT: dict[str, object] = {}


def configure(
    *, stream: TextIO | None = None, level: int = logging.INFO, **context: object
) -> None:
    """Sends the standard library's logging to `stream` (stderr) as JSON lines.

    Args:
        context: stands in every line of the process, for example `job`, `role`, `rank`, `attempt`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_formatter())
    # `force` removes handlers that a library has installed: each line is written once.
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    bind(**context)


def configure_pod(
    environment: Mapping[str, str] = os.environ, *, stream: TextIO | None = None, **context: object
) -> None:
    """`configure` with job (as `namespace/name`), role and pod from the pod's variables."""
    configure(stream=stream)
    names = [environment[name] for name in (Env.NAMESPACE, Env.JOB) if name in environment]
    bind(
        job="/".join(names) or None,
        role=environment.get(Env.ROLE),
        pod=environment.get(Env.POD_NAME),
        **context,
    )


def bind(**context: object) -> None:
    """Adds fields to every later line of the process; `None` removes one."""
    _CONTEXT.update(context)
    for key in [key for key, value in _CONTEXT.items() if value is None]:
        del _CONTEXT[key]


def message_of(line: str) -> str:
    """Exception or message of a JSON line; other lines are returned unchanged."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict) or "message" not in event:
        return line
    exception = str(event.get("exception", "")).strip()
    return exception.splitlines()[-1] if exception else str(event["message"])


def _add_context(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    # The line's own `extra` wins over the process's fields.
    return {**_CONTEXT, **event}


def _plain_extras(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keeps scalars, joins tuples (`namespace/name`) and drops the rest, like kopf's settings."""
    plain: structlog.typing.EventDict = {}
    for key, value in event.items():
        if isinstance(value, tuple) and key not in _INTERNAL:
            plain[key] = "/".join(map(str, value))
        elif key in _INTERNAL or isinstance(value, _SCALARS):
            plain[key] = value
    return plain


def _without_credentials(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    # Values, not the line of JSON: in it quotes and line breaks are escaped.
    return {
        key: redacted(value) if isinstance(value, str) else value for key, value in event.items()
    }


def _formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(),
            _plain_extras,
            _add_context,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            _without_credentials,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
