"""Whatever a task worker writes is a sound task or a failure with a reason, never an exception."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sea_data.synthesis import execution_checks
from sea_data.synthesis.agents import task_worker
from sea_data.synthesis.agents.backend import sound_task
from sea_data.synthesis.agents.function_worker import function_cases
from sea_data.synthesis.agents.model_client import UNUSABLE, parse
from sea_data.synthesis.plan import Item, Plan, Style, ToolMode
from sea_data.synthesis.source_database import SourceDatabase
from sea_testing.played import PLANS, RETAIL, TELECOM, Play, PlayedModel

CASES = 300
JUNK: list[Any] = [None, 0, -1.5, True, "", "x" * 5000, "\ud800", [], {}, [1], {"a": []}, [[[]]]]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with one of its keys."""
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys:
            yield value, key
            yield from places(value[key])


def spoiled(task: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(task))
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(list(places(found)))
        if rng.random() < 0.25:
            del container[key]
        else:
            container[key] = rng.choice(JUNK)
        if not found:
            break
    return found


@pytest.mark.parametrize("play", [RETAIL, TELECOM], ids=lambda play: play.domain)
def test_spoiled_tasks(play: Play, sources_of: Callable[[str], list[SourceDatabase]]) -> None:
    found = sources_of(play.domain)[0]
    model = PlayedModel(found, play, PLANS)
    plan = Plan("p001", play.domain, ("cancel",), ToolMode.GIVEN, Style.TERSE)
    rng, unusable, faults, fine = random.Random(5), 0, 0, 0
    for number in range(CASES):
        task = spoiled(model.task_for(f"a plan {number}"), rng)
        try:
            candidate = task_worker.read(parse(json.dumps({"task": task})), plan).task
        except UNUSABLE:
            unusable += 1
            continue
        assert candidate is not None
        try:
            function_cases(found, sound_task(found, candidate, Item(plan, 1, number)))
        except execution_checks.TASK_FAULTS:
            faults += 1
        else:
            fine += 1
    assert min(unusable, faults, fine) > CASES // 20
