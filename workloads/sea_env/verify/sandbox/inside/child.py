"""One fork, one function: confined first, then run, then its answer read once through a pipe.

The byte `READY` says that the fork is confined. Anything after it is the function's responsibility;
without it the sandbox itself is broken.
"""

import math
import os
import random
from typing import Any, NoReturn

from . import frames
from .confine import confine

READY = b"R"
_ENTRY = "verify"
_REASON_CHARACTERS = 2000


def run(pipe: int, source: str, episode: dict[str, Any], limits: dict[str, Any]) -> NoReturn:
    """Never returns: the process ends here."""
    try:
        # Confine before anything of the function is compiled.
        confine(pipe, int(limits["cpu_s"]), limits["memory_bytes"], limits["output_bytes"])
    except OSError as error:
        os.write(pipe, f"{error}".encode())
        os._exit(1)
    try:
        # The fork has the zygote's generator; seeded, every run of a function draws the same
        # numbers.
        random.seed(0)
        # Between confinement and code: whatever follows this byte is blamed on the function.
        os.write(pipe, READY)
        frames.send(pipe, frames.encode(_verdict(source, episode)))
    finally:
        # Not even a function that made the interpreter unusable gets past this line.
        os._exit(0)


def _verdict(source: str, episode: dict[str, Any]) -> dict[str, Any]:
    try:
        names: dict[str, Any] = {"__name__": "verification_function"}
        # Fresh names: a function sees nothing of this module but what the interpreter holds.
        exec(compile(source, "<verification function>", "exec"), names)  # noqa: S102 - it's the job
        if not callable(names.get(_ENTRY)):
            return fault(f"it defines no function {_ENTRY}(episode)")
        return verdict_of(names[_ENTRY](episode))
    # BaseException: SystemExit and KeyboardInterrupt raised by a function are its fault, too.
    except BaseException as error:
        return fault(_described(error))


def verdict_of(answer: Any) -> dict[str, Any]:
    """A number from 0 to 1 or a truth value, alone or with a reason, as a message."""
    reward, reason = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, "")
    if not isinstance(reward, int | float):
        return fault(f"it returned {type(answer).__name__}, not a reward or (reward, reason)")
    # NaN passes every comparison as false, so it is tested by itself. Truth values count as 0 and
    # 1.
    if not math.isfinite(reward) or not 0 <= reward <= 1:
        return fault(f"it returned the reward {reward}, which isn't between 0 and 1")
    return {"reward": float(reward), "reason": shortened(str(reason))}


def fault(reason: str) -> dict[str, Any]:
    return {"fault": shortened(reason)}


def shortened(reason: str) -> str:
    """Truncated for a report; half of a surrogate pair, which can't be encoded, is replaced."""
    return reason[:_REASON_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def _described(error: BaseException) -> str:
    place, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<verification function>":
            place = f" in line {trace.tb_lineno}"
        trace = trace.tb_next
    line = getattr(error, "lineno", None)
    if isinstance(error, SyntaxError) and line:
        place = f" in line {line}"
    return f"it raised {type(error).__name__}{place}: {error}"
