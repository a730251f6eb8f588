"""The demo's live view and the end of the watch."""

import io
from typing import Any

import pytest
from rich.console import Console

from sea_devcluster.demo import watch
from sea_devcluster.errors import DemoError


def job(**status: Any) -> dict[str, Any]:
    stages = [{"name": "sft"}, {"name": "rl"}]
    return {"metadata": {"name": "tiny"}, "spec": {"stages": stages}, "status": status}


def condition(kind: str, status: str = "True") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": "Because", "message": "A sentence."}


RUNNING = {
    "stage": "rl",
    "step": 12,
    "totalSteps": 40,
    "progress": "12/40",
    "reward": 0.5,
    "weights": {"published": 13, "adoptedMin": 12},
    "throughput": {"generated": 900.4, "trained": 2000.6},
    "remainingSeconds": 125,
    "roles": {"trainer": {"desired": 2, "ready": 2}, "rollout": {"desired": 1, "ready": 0}},
    "evaluation": [{"stage": "eval-sft", "domain": "average", "passHat1": 35.5, "episodes": 256}],
}


def test_frame_shows_what_a_person_wants_to_know() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(watch.render(job(**RUNNING), [0.1, 0.9], 65.0))
    text = out.getvalue()
    for expected in ("12/40", "v13", "2:05", "2/3", "900/2001", "35.5", "1:05", "◐ rl", "● sft"):
        assert expected in text


def test_an_empty_status_can_be_drawn() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(watch.render(job(), [], 0.0))
    assert "tiny" in out.getvalue()
    assert "pods 0/0" in watch.line(job(), 0.0)


def test_a_stalled_job_shows_its_sentence() -> None:
    out = io.StringIO()
    Console(file=out, width=100).print(
        watch.render(job(conditions=[condition("Stalled")]), [], 0.0)
    )
    assert "Because: A sentence." in out.getvalue()


def test_a_problem_that_is_tried_again_shows_its_sentence_and_waiting_shows_none() -> None:
    outage = {"type": "Reconciling", "status": "True", "reason": "StoreFails", "message": "Down."}
    assert watch.line(job(conditions=[outage]), 0.0).endswith("StoreFails: Down.")
    waits = {**outage, "reason": "PodsNotReady"}
    assert "PodsNotReady" not in watch.line(job(conditions=[waits]), 0.0)


def test_a_line_shows_it_too() -> None:
    """Regression: a log showed the same numbers for an hour, but not the reason."""
    stalled = watch.line(job(conditions=[condition("Stalled")]), 0.0)
    assert stalled.endswith("  Because: A sentence.")
    assert watch.line(job(conditions=[condition("Stalled", "False")]), 0.0).endswith("remaining -")


@pytest.mark.parametrize(("values", "bars"), [([0.0, 1.0], "▁█"), ([2.0, -1.0], "█▁"), ([], "")])
def test_sparkline(values: list[float], bars: str) -> None:
    assert watch.sparkline(values) == bars


def test_follow_ends_when_the_job_is_complete_and_remembers_readiness() -> None:
    frames = iter([job(**RUNNING), job(roles={"trainer": {"desired": 2, "ready": 2}}, reward=0.6)])
    now = iter(float(i) for i in range(100))
    last = job(conditions=[condition("Complete")])
    seen = watch.follow(
        lambda: next(frames, last),
        Console(file=io.StringIO()),
        limit_seconds=50,
        clock=lambda: next(now),
        pause=lambda _: None,
    )
    assert seen.ready_seconds is not None
    assert seen.rewards == [0.5, 0.6]


@pytest.mark.parametrize(
    ("frame", "words"),
    [(job(conditions=[condition("Failed")]), "A sentence."), (job(), "not complete")],
)
def test_follow_gives_up_with_a_sentence(frame: dict[str, Any], words: str) -> None:
    now = iter(float(i) for i in range(100))
    with pytest.raises(DemoError, match=words):
        watch.follow(
            lambda: frame,
            Console(file=io.StringIO()),
            limit_seconds=5,
            clock=lambda: next(now),
            pause=lambda _: None,
        )
