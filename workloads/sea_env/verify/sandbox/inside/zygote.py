"""The waiting process in the sandbox: keeps databases, forks for each function.

It never runs a function itself, so whatever one does to its interpreter ends with its fork.
"""

import ctypes
import gc
import importlib
import signal
import sys
from typing import Any

from . import frames, watch
from .episode import NOTHING, episode

MODULES = (
    *("abc", "bisect", "calendar", "collections", "collections.abc", "copy", "dataclasses"),
    *("datetime", "decimal", "difflib", "enum", "fractions", "functools", "heapq", "itertools"),
    *("json", "math", "operator", "random", "re", "statistics", "string", "textwrap", "types"),
    *("typing", "unicodedata", "_strptime", "encodings.idna"),
)
"""What a function may import: loaded before files become unreachable."""
_CHECK_SECONDS = 30.0
"""Time limit of the sandbox's own first function: a row's doesn't apply to it."""
_PR_SET_PDEATHSIG = 1
Databases = dict[str, tuple[dict[str, Any], dict[str, Any]]]
"""Agent's and user's tables by the worker's key."""


def serve(limits: dict[str, Any]) -> None:
    """Answers frames of stdin on stdout until stdin ends."""
    # For the start without bubblewrap, whose --die-with-parent does the same. The signal follows
    # the worker's thread that forked, its event loop's.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for name in MODULES:
        importlib.import_module(name)
    databases: Databases = {}
    check = {**limits, "wall_s": _CHECK_SECONDS}
    # Answered before any question: `SandboxProcess.start` waits for this frame.
    frames.write(1, watch.judge("verify = lambda episode: 1", NOTHING, check))
    while (message := frames.read(0)) is not None:
        frames.write(1, _answer(message, databases, limits))


def _answer(message: dict[str, Any], databases: Databases, limits: dict[str, Any]) -> Any:
    if "forget" in message:
        databases.pop(message["forget"], None)
        return {}
    if "keep" in message:
        databases[message["keep"]] = (message["agent"], message["user"])
        gc.freeze()  # a garbage collection in a fork would copy every page of them
        return {}
    # Built here, in the zygote, and handed over by the fork: nothing is sent through a pipe again.
    finished = episode(message["episode"], *databases[message["database"]])
    return watch.judge(message["source"], finished, limits)


def main() -> None:
    """The limits come as `name=value` arguments."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    whole = {name: int(value) for name, value in given.items() if name != "wall_s"}
    serve({**whole, "wall_s": float(given["wall_s"])})
