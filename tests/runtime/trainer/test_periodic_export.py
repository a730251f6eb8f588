"""Exports next to training that fail, wait, or were cut off."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sea_data.object_store import AccessDeniedError, StoreUnavailableError
from sea_runtime.trainer import background
from sea_runtime.trainer.checkpoint.head import Manifest
from sea_runtime.trainer.checkpoint.periodic_export import Exports, overdue
from sea_runtime.trainer.model_files import READY
from sea_runtime.wire.checkpoints import Entry
from sea_testing.waiting import HANG_S, wait_for

FOLDER = "s3://runs/a/stages/rl/checkpoints"


def exports_of(folder: Path, **commits: Any) -> Exports:
    context: Any = SimpleNamespace(pod=SimpleNamespace(data_dir=folder), leads=True)
    stand_in: Any = SimpleNamespace(folder=FOLDER, **commits)
    return Exports(context, stand_in, folder)


def step(number: int) -> Any:
    return SimpleNamespace(stage="rl", step=number)


def entry(number: int) -> Entry:
    key = f"a/stages/rl/checkpoints/step-{number:06d}-a1/manifest.json"
    return Entry(step=number, version=number, manifest_key=key, bytes=1, time=0.0)


def test_whatever_ends_an_export_is_in_the_log_and_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Nobody asks for its result; safetensors' error of a full disk is no OSError."""

    def full(*_: Any) -> None:
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(Exports, "_write", full)
    exports = exports_of(tmp_path)
    exports.committed(step(4), 4)
    wait_for("the end", lambda: exports.under_way is None)
    said = "The export of step 4 failed (RuntimeError): No space left on device"
    assert said in caplog.text
    assert exports.failure.startswith(said)
    monkeypatch.setattr(Exports, "_write", lambda *_: None)
    exports.committed(step(8), 4)
    wait_for("the end", lambda: exports.under_way is None)
    assert exports.failure == ""


def test_an_outage_costs_no_export(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    answers: list[Exception | None] = [StoreUnavailableError("away"), None]

    def write(*_: Any) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(Exports, "_write", write)
    exports = exports_of(tmp_path)
    exports.committed(step(4), 4)
    wait_for("the end", lambda: exports.under_way is None)
    assert "The export of step 4 waits for the store: away" in caplog.text
    assert (answers, exports.failure) == ([], "")


@pytest.mark.parametrize(
    ("named", "exported", "every", "expected"),
    [
        ([9, 10, 11], set(), 10, [10]),
        ([9, 10, 11], {10}, 10, []),
        # Retention has deleted the checkpoint of the export that is there.
        ([18, 19], {10}, 10, []),
        ([10, 19, 20], {10}, 10, [20]),
        ([20, 31, 33], {10}, 10, [20, 31]),
        # Left out with a warning, since the one before was still under way.
        ([20, 30, 31], {30}, 10, []),
        # Of steps that a run which went back behind them has yet to come to again.
        ([20, 30, 31], {10, 20, 40, 50}, 10, [30]),
        ([3, 9], set(), 10, []),
        ([10, 20], set(), None, []),
        ([], set(), 10, []),
    ],
)
def test_an_export_is_owed_for_each_multiple_without_one_after_the_newest(
    named: list[int], exported: set[int], every: int | None, expected: list[int]
) -> None:
    found = overdue([entry(one) for one in named], exported, every)
    assert [one.step for one in found] == expected


def test_an_attempt_makes_the_export_that_the_one_before_did_not_finish(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the checkpoint that it was of; retention leaves that one meanwhile."""
    made: list[tuple[int, int]] = []
    # The last of a line that the run has left: it is whole, and of other weights.
    complete = [f"step-{number:06d}/{READY}" for number in (10, 40)]
    objects = [*complete, "step-000020/model-00001-of-00002.safetensors"]
    deleted: list[str] = []
    urls = [SimpleNamespace(url=f"s3://runs/a/stages/rl/exports/{name}") for name in objects]

    outages = [StoreUnavailableError("away")]

    def get(url: str) -> bytes:
        if outages:
            raise outages.pop()
        assert url == "s3://runs/a/stages/rl/checkpoints/step-000020-a1/manifest.json"
        manifest = Manifest(
            format=2,
            stage="rl",
            step=20,
            attempt=1,
            stream="policy",
            version=20,
            world_size=1,
            finished=False,
            objects=[],
            ledger=None,
            time=0.0,
        )
        return manifest.model_dump_json().encode()

    head = SimpleNamespace(checkpoints=[entry(10), entry(20), entry(21)])
    exports = exports_of(
        tmp_path,
        read=lambda: (head, None),
        url=lambda key: f"s3://runs/{key}",
        store=SimpleNamespace(get=get, list=lambda _: urls, delete=deleted.append),
    )
    monkeypatch.setattr(
        Exports, "_write", lambda self, found, *_: made.append((found.step, self._step))
    )
    newest: Any = step(21)
    exports.resume(newest, 10)
    wait_for("the end", lambda: exports.under_way is None)
    assert (made, exports.newest, exports.failure) == ([(20, 20)], 21, "")
    assert deleted == [urls[1].url]


def test_an_outage_during_the_look_for_exports_is_no_failure_once_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every attempt looks, also of a job that exports nothing: no export would clear it."""
    answers: list[Any] = [StoreUnavailableError("away"), []]

    def listed(_: str) -> Any:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    head = SimpleNamespace(checkpoints=[])
    store = SimpleNamespace(list=listed)
    exports = exports_of(tmp_path, read=lambda: (head, None), store=store)
    exports.resume(step(21), None)
    wait_for("the end", lambda: exports.under_way is None)
    assert "The look for exports that were cut off waits for the store: away" in caplog.text
    assert (answers, exports.failure) == ([], "")


def test_a_look_that_fails_is_no_export_that_failed(tmp_path: Path) -> None:
    def refused(_: str) -> Any:
        raise AccessDeniedError("LIST: access denied")

    exports = exports_of(tmp_path, store=SimpleNamespace(list=refused))
    exports.resume(step(21), None)
    wait_for("the end", lambda: exports.under_way is None)
    said = "The look for exports that were cut off failed (AccessDeniedError): LIST: access denied"
    assert exports.failure.startswith(said)


def test_a_stage_ends_once_its_exports_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No later attempt opens a stage that has ended: what is cut off then is never made."""
    monkeypatch.setattr(background, "POLL_SECONDS", 0.01)
    goes_on, looks = threading.Event(), 0

    def alive() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            goes_on.set()

    monkeypatch.setattr(Exports, "_write", lambda *_: goes_on.wait(HANG_S))
    exports = exports_of(tmp_path)
    context: Any = exports._context
    context.status, context.control = SimpleNamespace(alive=alive), SimpleNamespace(min=float)
    exports.finish()
    assert looks == 1, "nothing was under way"
    exports.committed(step(4), 4)
    exports.finish()
    assert looks >= 3
    assert exports.under_way is None


def test_a_store_that_stays_away_holds_the_end_of_a_stage_up_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The export counts as failed then, and the job hears of both."""
    monkeypatch.setattr(background, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(background, "MAX_OUTAGE_SECONDS", -1.0)
    waits = threading.Event()

    def away(*_: Any) -> None:
        waits.set()
        raise StoreUnavailableError("PUT: no answer.")

    monkeypatch.setattr(Exports, "_write", away)
    exports = exports_of(tmp_path)
    context: Any = exports._context
    context.status, context.control = (
        SimpleNamespace(alive=lambda: None),
        SimpleNamespace(min=float),
    )
    exports.committed(step(4), 4)
    assert waits.wait(HANG_S)
    wait_for("the sentence", lambda: "waits for the store: PUT: no answer." in exports.failure)
    exports.finish()
    assert exports.failure.startswith(
        "The export of step 4 failed (StoreUnavailableError): PUT: no answer."
    )
