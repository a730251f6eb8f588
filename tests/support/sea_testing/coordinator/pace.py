"""Holds a coordinator's synthesis in the middle, so that a test can kill it there.

Only its pace is touched: Python's own hook for a site, on the path of the processes, lets each one
make so many of the shop's tasks and then wait.
"""

import os
from pathlib import Path

import pytest

_HOOK = """\
import pathlib, sys, time
LIMIT = pathlib.Path({limit!r})
def over(made):
    try:
        return made > int(LIMIT.read_text())
    except FileNotFoundError:
        return False
def hold():
    from sea_data.synthesis.procedural.shop import ShopTaskGenerator
    generate, made = ShopTaskGenerator.generate, [0]
    def held(self, plan, rng):
        made[0] += 1
        while over(made[0]):
            time.sleep(0.02)
        return generate(self, plan, rng)
    ShopTaskGenerator.generate = held
if any(one.startswith("sea_runtime.coordinator.synthesis_process") for one in sys.orig_argv):
    hold()
"""


class Pace:
    """Of the processes that are started while it is there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._limit = folder / "limit"
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(_HOOK.format(limit=str(self._limit)))
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    def hold_after(self, tasks: int) -> None:
        """Each process makes this many and waits."""
        whole = self._limit.with_suffix(".new")
        whole.write_text(str(tasks))
        whole.replace(self._limit)

    def go(self) -> None:
        self._limit.unlink()
