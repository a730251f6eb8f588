"""At which steps a checkpoint begins, while others are being uploaded."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Checkpoint
from sea_runtime.trainer.stage_trainer import StageTrainer


class Uploads:
    """A saver whose saves are under way for as long as a test says."""

    def __init__(self, is_busy: Callable[[int, int], bool]) -> None:
        self._is_busy = is_busy
        self.now = 0
        self.away = False
        self.began: list[int] = []
        self.replaced: list[int] = []

    @property
    def busy(self) -> bool:
        return bool(self.began) and self._is_busy(self.began[-1], self.now)

    def replace(self) -> None:
        self.replaced.append(self.now)

    def start(self, _model: Any, _optimizer: Any, position: Any) -> None:
        assert position.step == self.now
        self.began.append(self.now)


@pytest.mark.parametrize(
    ("is_busy", "began"),
    [
        (lambda began, now: False, [4, 8, 12, 14]),
        (lambda began, now: now < began + 6, [4, 10, 14]),
        (lambda began, now: now < began + 1, [4, 8, 12, 14]),
        (lambda began, now: True, [4, 12, 14]),
    ],
    ids=["at once", "six steps", "a step", "never ends"],
)
def test_a_checkpoint_is_postponed_until_the_next_is_due_at_most(
    is_busy: Callable[[int, int], bool], began: list[int]
) -> None:
    """And a stage's last step waits for whatever is under way."""
    assert began_at(Uploads(is_busy)) == began


def began_at(saver: Any, away: range = range(0)) -> list[int]:
    """Steps at which 14 steps, with a checkpoint every 4, begin one."""
    spec: Any = SimpleNamespace(checkpoint=Checkpoint(every_steps=4))
    nothing: dict[str, Any] = dict.fromkeys(
        ("context", "task", "settings", "initial", "model", "optimizer", "publisher", "buffers")
    )
    stage = StageTrainer(spec=spec, saver=saver, **nothing)
    for step in range(1, 15):
        stage.step = saver.now = step
        saver.away = step in away
        stage.checkpoint(step, finished=step == 14)
    assert not set(saver.replaced) & set(saver.began)
    found: list[int] = saver.began
    return found


def test_a_store_that_is_away_holds_no_step_up() -> None:
    """However many checkpoints are due: the copy that is there waits for it, and is committed."""
    saver = Uploads(lambda began, now: began == 4 and now < 13)
    assert began_at(saver, away=range(5, 13)) == [4, 13, 14]
    assert not saver.replaced
