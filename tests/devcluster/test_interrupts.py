"""Signals at the worst moment: no process is lost, no clean-up is cut short."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from sea_devcluster import cluster, daemons, interrupts
from sea_devcluster.cluster import DevCluster
from sea_devcluster.daemons import Command, Daemon
from sea_devcluster.paths import write_private
from sea_devcluster.records import Capacity, ClusterRecord, save
from sea_devcluster.shutdown import unmount_below

P = ParamSpec("P")
R = TypeVar("R")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Python's own at first, and afterwards what they were.

    Who runs the tests under `nohup` or in a shell's background hands down ignored signals.
    """
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_every_polite_signal_is_a_keyboard_interrupt(number: signal.Signals) -> None:
    interrupts.raise_on_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_a_program_under_nohup_goes_on_when_its_terminal_closes() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupts.raise_on_signals()
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_postponed_signal_comes_after_the_outermost_block(number: signal.Signals) -> None:
    interrupts.raise_on_signals()
    done = []

    def nested() -> None:
        with interrupts.postponed():
            with interrupts.postponed():
                signal.raise_signal(number)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        nested()
    assert done == ["inner", "outer"]


def test_a_process_that_was_started_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the start and the record left a process that no `down` could find."""
    monkeypatch.setattr(daemons, "write_private", _interrupted(write_private))
    daemon = Daemon(tmp_path, "sleeper")
    sleeper = Command("sleeper", [sys.executable, "-c", "input()"], cwd=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        daemon.start(sleeper, persistent=False)
    try:
        assert daemon.process is not None
    finally:
        daemon.stop()


def test_ctrl_c_in_the_middle_of_down_does_not_leave_half_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "half"
    folder.mkdir()
    save(folder, ClusterRecord("half", 61, 1, "/clone", Capacity("1", "1Gi")))
    monkeypatch.setattr(cluster, "unmount_below", _interrupted(unmount_below))
    with pytest.raises(KeyboardInterrupt):
        DevCluster("half", state_root=tmp_path).down()
    assert not folder.exists()


def _interrupted(work: Callable[P, R]) -> Callable[P, R]:
    def then(*args: P.args, **kwargs: P.kwargs) -> R:
        signal.raise_signal(signal.SIGINT)
        return work(*args, **kwargs)

    return then


@pytest.mark.parametrize("program", ["sea_devcluster", "sea_devcluster.demo"])
def test_ctrl_c_while_python_still_imports_is_no_traceback(program: str, tmp_path: Path) -> None:
    """On a busy machine that takes seconds, and people press it at once."""
    hook = "import sys\nclass Stop:\n    def find_spec(self, name, *_):\n"
    hook += "        if name == 'sea_devcluster.interrupts':\n            raise KeyboardInterrupt\n"
    (tmp_path / "sitecustomize.py").write_text(f"{hook}sys.meta_path.insert(0, Stop())\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
