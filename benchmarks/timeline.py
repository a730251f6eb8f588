"""`TIMELINE=1 make bench-recovery`: a job whose node comes and goes, as a table for the docs.

examples/tiny.yaml without its user model and evaluations: SFT teaches the form of a dialogue, so
that RL has rewards. In the RL stage the node of the second trainer pod takes no pods any more after
6 steps, and does again 10 steps later. Prints a Markdown table of time, attempt, trainer pods, step
and the mean reward of the steps since the row before, for each change and every fourth step, and
one JSON object as its last line. About half an hour on two free cores.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from recovery_job import Bench, Seen, two_nodes

from sea_devcluster.demo.object_store import RunObjects
from sea_devcluster.demo.options import ROOT

NAME = "timeline"
GONE, BACK, STEPS = 6, 16, 30
EVERY = 4
DATA = ["shop", "--seed", "0"]
"""The demo's: with fewer dialogues SFT ends before the model can do anything."""
POLL_SECONDS = 0.5
LIMIT_SECONDS = 3600.0


def stages() -> list[dict[str, Any]]:
    """The example's SFT and RL, the latter with `STEPS` steps."""
    spec = yaml.safe_load((ROOT / "examples" / "tiny.yaml").read_text())["spec"]
    found = {stage["type"]: stage for stage in spec["stages"]}
    return [found["SFT"], {**found["RL"], "rl": {**found["RL"]["rl"], "steps": STEPS}}]


def watch(bench: Bench, stage: str, each: Callable[[Seen], None]) -> list[tuple[Seen, str]]:
    """Statuses of the stage whose attempt, size or step is news, until its steps are done."""
    found: list[tuple[Seen, str]] = []
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        job = bench.read()
        status = job.get("status", {})
        seen = Seen.of(job, time.monotonic())
        if status.get("stage") == stage:
            last = found[-1][0] if found else None
            if last is None or (last.attempt, last.size, last.step) != (
                seen.attempt,
                seen.size,
                seen.step,
            ):
                message = ((status.get("elastic") or {}).get("trainer") or {}).get("message", "")
                found.append((seen, message))
            each(seen)
            if seen.step >= STEPS:
                return found
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"The stage didn't end within {LIMIT_SECONDS:.0f} s.")


def table(found: list[tuple[Seen, str]], rewards: dict[int, float]) -> list[str]:
    """Rows for changes of attempt and size, and for every `EVERY` steps."""
    start, shown, last = found[0][0].time, 0, None
    rows = ["| | what | attempt | trainer pods | step | reward |", "|---|---|---|---|---|---|"]
    for seen, message in found:
        changed = last is None or (last.attempt, last.size) != (seen.attempt, seen.size)
        last = seen
        if not changed and seen.step - shown < EVERY:
            continue
        some = [rewards[step] for step in range(shown + 1, seen.step + 1) if step in rewards]
        shown = seen.step
        minutes, seconds = divmod(int(seen.time - start), 60)
        reward = f"{mean(some):.2f}" if some else ""
        what = message if changed else ""
        rows.append(
            f"| {minutes}:{seconds:02} | {what} | {seen.attempt} | {seen.size} | {seen.step} "
            f"| {reward} |"
        )
    return rows


def main() -> int:
    with two_nodes(f"timeline-{os.getpid()}") as cluster:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(
                cluster, Path(folder), NAME, *stages(), data=DATA, checkpoint={"everySteps": 2}
            )
        todo = [(GONE, bench.lose_node), (BACK, bench.return_node)]

        def strike(seen: Seen) -> None:
            while todo and seen.step >= todo[0][0]:
                todo.pop(0)[1]()

        found = watch(bench, stages()[-1]["name"], strike)
        objects = RunObjects(bench.read()["status"]["runUrl"], bench.target.server)
        rl = [row for row in objects.metrics() if "reward" in row["metrics"]]
    rewards = {row["step"]: row["metrics"]["reward"] for row in rl}
    print("\n".join(table(found, rewards)))
    print(json.dumps({"rewards": rewards, "load": [round(one, 1) for one in os.getloadavg()]}))
    return 0
