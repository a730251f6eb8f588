"""What waits for a checkpoint, and what a store that refuses one leads to. Without a store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sea_api.v1alpha1.policy import Checkpoint
from sea_data.object_store import AccessDeniedError, StoreError, StoreUnavailableError
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint import saver as saving
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.pending_save import Position
from sea_runtime.trainer.checkpoint.saver import Saver
from sea_runtime.trainer.errors import UncommittedError
from sea_runtime.trainer.stage_trainer import StageTrainer
from sea_runtime.wire.trainer import LedgerSnapshot
from sea_testing.one_rank import NOTHING, Alone, State
from sea_testing.waiting import wait_for


class Refusing:
    """A store that answers every upload with one error, and has no head."""

    def __init__(self, error: StoreError) -> None:
        self._error = error
        self._gives_up: Callable[[], bool] = lambda: False

    def watched(self, gives_up: Callable[[], bool]) -> "Refusing":
        self._gives_up = gives_up
        return self

    def put_large(self, *_: Any) -> None:
        if not self._error.permanent:
            self._gives_up()
        raise self._error

    def get_with_etag(self, _: str) -> tuple[bytes, str]:
        return b"{}", "tag"


class Client:
    def __init__(self) -> None:
        self.ended: list[Any] = []

    def watched(self, _: Any) -> "Client":
        return self

    def snapshot(self, *_: Any) -> LedgerSnapshot:
        return LedgerSnapshot(key="ledger", size=1, sha256="")

    def done(self, _stage: str, message: Any) -> None:
        self.ended.append(message)


class Group(Alone):
    """Of several ranks, some of which have no memory for a copy."""

    def __init__(self, all_copy: bool = True) -> None:
        self._answers: Iterator[float] = iter([float(all_copy)])

    def min(self, value: float) -> float:
        return min(value, next(self._answers, 1.0))


def saver_of(store: Any, monkeypatch: pytest.MonkeyPatch, group: Group | None = None) -> Saver:
    monkeypatch.setattr(saving, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(saving, "RankState", State)
    monkeypatch.setattr(background, "POLL_SECONDS", 0.01)
    context: Any = SimpleNamespace(
        pod=SimpleNamespace(processes=1),
        assignment=SimpleNamespace(rank=0, world_size=1),
        control=group or Group(),
        client=Client(),
        store=store,
        status=SimpleNamespace(alive=lambda: None),
        leads=True,
        attempt=1,
    )
    task: Any = SimpleNamespace(stage="rl", spec_generation=1)
    return Saver(context, task, Checkpoint(), Commits(store, "s3://runs/a", "rl", 1), Path())


def test_a_stage_whose_last_checkpoint_is_refused_is_not_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its steps would be in no checkpoint, and the next stage's versions count from the last."""
    monkeypatch.setattr("sea_runtime.trainer.stage_trainer.export", lambda *_: None)
    saver = saver_of(Refusing(AccessDeniedError("no")), monkeypatch)
    nothing: dict[str, Any] = dict.fromkeys(("spec", "settings", "initial", "optimizer", "buffers"))
    publisher: Any = SimpleNamespace(publish=lambda *_, **__: None, finish=lambda: None)
    stage = StageTrainer(
        context=saver.context,
        task=saver.task,
        saver=saver,
        model=NOTHING,
        publisher=publisher,
        step=3,
        **nothing,
    )
    with pytest.raises(UncommittedError, match=r"stage 'rl' \(step 3\)"):
        stage.complete(3)
    client: Any = saver.context.client
    assert not client.ended


def test_an_outage_holds_no_rank_up_where_another_has_no_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All ranks wait for all uploads then: this one, with a copy, may not try again for ever."""
    saver = saver_of(Refusing(StoreUnavailableError("away")), monkeypatch, Group(all_copy=False))
    saver.start(NOTHING, NOTHING, Position(3, 3))
    saver.poll()
    assert not saver.busy


def test_a_last_checkpoint_that_training_waits_for_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without memory for a copy no step is made meanwhile, and the store may be away for long."""
    store = Refusing(StoreUnavailableError("away"))
    saver = saver_of(store, monkeypatch, Group(all_copy=False))
    seen: list[str] = []

    def alive() -> None:
        if saver.failure:
            seen.append(saver.failure)
            store._error = AccessDeniedError("no")

    context: Any = saver.context
    context.status.alive = alive
    saver.start(NOTHING, NOTHING, Position(3, 3), needed=True)
    assert "(rank 0: StoreUnavailableError: away)" in seen[0]


def test_all_ranks_know_that_the_store_is_away_until_it_takes_the_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They begin no other checkpoint meanwhile (`test_checkpoint_due`)."""
    store = Refusing(StoreUnavailableError("away"))
    saver = saver_of(store, monkeypatch)
    saver.start(NOTHING, NOTHING, Position(3, 3))
    assert not saver.away

    def away() -> bool:
        saver.poll()
        return saver.away

    wait_for("the outage", away)
    assert saver.busy
    store._error = AccessDeniedError("no")

    def ended() -> bool:
        saver.poll()
        return not saver.busy

    wait_for("the end", ended)
    assert not saver.away
