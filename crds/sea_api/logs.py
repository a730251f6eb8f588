"""One log format for operator and pods: a JSON object per line, with job, role, rank, attempt."""

import logging
import sys
from typing import TextIO

import structlog

_NOISY = ("kopf", "aiohttp.access", "asyncio", "httpx", "botocore", "urllib3")

# Not structlog's contextvars: threads would start without them.
_CONTEXT: dict[str, object] = {}


def _add_context(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {**_CONTEXT, **event}


_SHARED: list[structlog.typing.Processor] = [
    _add_context,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(
    *, stream: TextIO | None = None, level: int = logging.INFO, **context: object
) -> None:
    """Sends the standard library's logging to `stream` (stderr) as JSON lines.

    Args:
        context: stands in every line of the process, for example `job`, `role`, `rank`, `attempt`.
    """
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    bind(**context)


def bind(**context: object) -> None:
    """Adds to what every line of the process carries from now on; `None` removes a key."""
    _CONTEXT.update(context)
    for key in [key for key, value in _CONTEXT.items() if value is None]:
        del _CONTEXT[key]
