"""Two demos of one name, and a terminal that goes away: nothing of another run is stopped."""

import contextlib
import io
from pathlib import Path

import pytest
from rich.console import Console

from sea_devcluster.demo import main
from sea_devcluster.demo.options import parse
from sea_devcluster.demo.run import step
from sea_devcluster.errors import DemoError


class Closed(io.StringIO):
    """A terminal after its window was closed."""

    def write(self, _text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_second_demo_of_the_same_name_leaves_the_first_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: it stopped the running one's cluster as if an earlier run had left it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("sea_devcluster.preflight.require", _must_not_be_reached)
    with main.exclusive_name("demo"):
        assert main.demo(parse(["--plain"])) is None
    assert "Another `make demo`" in capsys.readouterr().out


def test_a_step_runs_even_if_its_terminal_is_closed() -> None:
    """The last step of a demo whose terminal was closed is to stop the cluster."""
    done = False
    with contextlib.suppress(OSError), step(Console(file=Closed()), "Stopping"):
        done = True
    assert done


def _must_not_be_reached(*_: object) -> None:
    raise AssertionError("the second demo went on")


@pytest.mark.parametrize("words", ["path [/data/x] is empty", "spec.roles[trainer]: too many"])
def test_brackets_of_an_error_reach_the_reader(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """rich treats them as styles: it drops the first and raises at the second."""

    def fail(*_: object, **__: object) -> None:
        raise DemoError(words)

    monkeypatch.setattr(main, "_run", fail)
    assert main.demo(parse(["--plain"])) is None
    assert words in capsys.readouterr().out


def test_a_name_that_is_a_path_is_refused_by_its_rule(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Regression: it became part of a lock file's path, and the sentence was about disk space."""
    assert main.demo(parse(["--plain", "--name", "a/b"])) is None
    assert "lower-case" in capsys.readouterr().out


@pytest.mark.parametrize("minutes", ["0", "-5", "nan", "inf"])
def test_a_limit_that_is_no_time_is_refused(
    minutes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: it was found only after the cluster had started."""
    with pytest.raises(SystemExit):
        parse(["--limit-minutes", minutes])
    assert "is no time to wait" in capsys.readouterr().err
