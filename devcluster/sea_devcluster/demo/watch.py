"""Follows a job until it is over; shows it while it runs."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live

from sea_devcluster.demo import view
from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.patience import patient

POLL_SECONDS = 1.0
LINE_SECONDS = 10.0
OPERATOR_SECONDS = 600.0
"""By then an operator has written a first status, even where its image had to be pulled."""


@dataclass
class Observation:
    """What the watch learned on the way."""

    job: dict[str, Any] = field(default_factory=dict)
    rewards: list[float] = field(default_factory=list)
    ready_seconds: float | None = None
    """From the start of the watch to the first moment at which all pods were Ready."""


def follow(
    fetch: Callable[[], dict[str, Any]],
    console: Console,
    *,
    limit_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Observation:
    """Polls until Complete; DemoError when the job failed, stalled for good, or took too long."""
    seen, start, last_line = Observation(), clock(), -LINE_SECONDS
    read = patient(fetch, clock, pause)
    live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
    with live or nullcontext():
        while True:
            elapsed = clock() - start
            seen.job = read()
            note(seen, elapsed)
            if live is not None:
                live.update(view.render(seen.job, seen.rewards, elapsed))
            elif elapsed - last_line >= LINE_SECONDS:
                line = view.line(seen.job, elapsed)
                console.print(line, highlight=False, markup=False, soft_wrap=True)
                last_line = elapsed
            if over(seen.job):
                return seen
            if elapsed > OPERATOR_SECONDS and not seen.job.get("status", {}).get("conditions"):
                raise DemoError(
                    f"The operator hasn't taken the job in for {OPERATOR_SECONDS / 60:.0f} minutes;"
                    " look at its pod (`kubectl -n sea-system get pods`) and at its log."
                )
            if elapsed > limit_seconds:
                raise DemoError(f"The job was not complete after {limit_seconds / 60:.0f} minutes.")
            pause(POLL_SECONDS)


def note(seen: Observation, elapsed: float) -> None:
    """Remembers a new reward and the moment of readiness."""
    status = seen.job.get("status", {})
    reward = status.get("reward")
    if reward is not None and (not seen.rewards or seen.rewards[-1] != reward):
        seen.rewards.append(reward)
    roles = [role for role in (status.get("roles") or {}).values() if role]
    all_ready = bool(roles) and all(r["desired"] == r["ready"] > 0 for r in roles)
    if seen.ready_seconds is None and all_ready:
        seen.ready_seconds = elapsed


def over(job: dict[str, Any]) -> bool:
    """True when the job is Complete; DemoError when it Failed."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == "Failed" and condition["status"] == "True":
            raise DemoError(f"The job failed. {condition['reason']}: {condition['message']}")
        if condition["type"] == "Complete" and condition["status"] == "True":
            return True
    return False
