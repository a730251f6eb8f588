"""Runs one function in a fork and reports how it ended. The parent's half of `child`."""

import gc
import os
import select
import signal
import time
from typing import Any

from . import child, frames

_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.0001, 0.01
# The kernel counts RLIMIT_CPU and ru_utime by different clocks, a few ticks apart.
_CPU_TOLERANCE_SECONDS = 0.1
_CONFINE_SECONDS = 30.0
"""Time limit for confining a fork; the function's own begins after that."""


def judge(source: str, episode: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """`{"reward", "reason"}`, `{"fault"}` of the function, or `{"broken"}` of the sandbox."""
    pipe, end = os.pipe()
    try:
        process = os.fork()
    except OSError as error:
        os.close(pipe)
        os.close(end)
        return {"broken": f"no process could be started: {error}"}
    if not process:
        # A collection would touch, and so copy, every page that the fork shares with the zygote.
        gc.disable()
        child.run(end, source, episode, limits)
    # Only the fork may hold the writing end: with a copy here the pipe would never end.
    os.close(end)
    output, why, deadline = _heard(pipe, limits["wall_s"], 2 * int(limits["output_bytes"]))
    os.close(pipe)
    signalled, cpu_s = _end(process, 0 if why else deadline)
    return _judged(output, why, signalled, cpu_s, limits)


def _heard(pipe: int, wall_s: float, most: int) -> tuple[bytes, str, float]:
    """What was read, why reading stopped before the pipe's end (if it did), and the deadline."""
    output, poll, confined = b"", select.poll(), False
    poll.register(pipe, select.POLLIN)
    deadline = time.monotonic() + _CONFINE_SECONDS
    while True:
        left = deadline - time.monotonic()
        # poll, not a blocking read: a function that neither writes nor ends must not hold the
        # zygote.
        if left <= 0 or not poll.poll(1000 * left):
            return output, "it was not done in time", deadline
        part = os.read(pipe, 1 << 16)
        output += part
        if not part:
            return output, "", deadline
        # Twice the limit: JSON escapes lengthen a text that is within it.
        if len(output) > most:
            return output, "it answered too much", deadline
        if not confined and output.startswith(child.READY):
            # The function's own time begins here, not with a fork that waits for a busy machine.
            confined, deadline = True, time.monotonic() + wall_s


def _end(process: int, deadline: float) -> tuple[int, float]:
    """Waits until the deadline, then kills; returns the signal it died of by itself and its CPU
    seconds."""
    pause = _FIRST_PAUSE_SECONDS
    while time.monotonic() < deadline:
        found, status, used = os.wait4(process, os.WNOHANG)
        if found:
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, _cpu(used)
        time.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)
    # Never to a recycled PID: the process is a zombie until wait4 below takes it.
    os.kill(process, signal.SIGKILL)
    return 0, _cpu(os.wait4(process, 0)[2])


def _cpu(used: Any) -> float:
    return float(used.ru_utime + used.ru_stime)


def _judged(
    output: bytes, why: str, signalled: int, cpu_s: float, limits: dict[str, Any]
) -> dict[str, Any]:
    if not output.startswith(child.READY):
        said = output.decode(errors="replace") or why or f"it died (signal {signalled})"
        return {"broken": f"a process could not be confined: {said}"}
    if why:
        return child.fault(why)
    # The pipe's end, not the frame's length, ends the answer: a function may have written there
    # itself.
    body = output[len(child.READY) + frames.HEADER.size :]
    if body:
        return {"output": body.decode(errors="replace")}
    # Before the general ending: a function that ran out of CPU time may die in several ways.
    if signalled == signal.SIGXCPU or cpu_s > limits["cpu_s"] - _CPU_TOLERANCE_SECONDS:
        return child.fault(f"it used more than {limits['cpu_s']:.0f} s of CPU time")
    if signalled == signal.SIGKILL:
        return {"broken": "its process was killed from outside (is the pod's memory full?)"}
    ending = signal.Signals(signalled).name if signalled else "os._exit"
    return child.fault(f"it ended its process ({ending}) instead of returning")
