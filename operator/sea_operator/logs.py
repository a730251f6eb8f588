"""One JSON object a line: time, level, logger, message, and what a call gave as `extra`."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

EXTRAS = ("job", "identity", "reason", "seconds")


class JsonLines(logging.Formatter):
    """Tracebacks stay inside their line, as `\\n`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: _text(record, name) for name in EXTRAS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(level: int = logging.INFO) -> None:
    """Logs to stderr; kopf's chatter and HTTP access logs only from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _text(record: logging.LogRecord, name: str) -> str:
    value = getattr(record, name)
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
