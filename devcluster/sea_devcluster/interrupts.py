"""Ctrl-C, SIGTERM and a closed terminal interrupt a command, but never its clean-up.

The commands call `raise_on_signals` first; what must not be left half done (a process that runs but
is not recorded yet, a cluster that is being stopped) runs inside `postponed`.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_on_signals() -> None:
    """Makes each of `SIGNALS` raise KeyboardInterrupt in the main thread, as Ctrl-C does.

    A signal that the caller ignores (SIGHUP under `nohup`, SIGINT in a script's background job)
    stays ignored.
    """
    for number in SIGNALS:
        # nohup and shells ignore a signal before exec, and that is inherited.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextmanager
def postponed(note: str = "") -> Iterator[None]:
    """Signals that arrive inside take effect at the end of the block. Blocks nest.

    Only the main thread gets signals; in others this does nothing. `note` is logged when one
    arrives, so that a person who pressed Ctrl-C sees that it was noticed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        if note:
            log.warning(note)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    # SIG_IGN, SIG_DFL and None (set outside of Python) aren't callable: those stay as they are.
    ours = {number: old for number, old in before.items() if callable(old)}
    for number in ours:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, old in ours.items():
            signal.signal(number, old)
        if arrived:
            # After the old handlers are back. One is enough: it ends the command.
            signal.raise_signal(arrived[0])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
