"""What procedural workers make is right: replayed from the written files alone, by other code."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sea_data.formats import rl
from sea_data.formats.dialogue import Dialogue
from sea_data.formats.dialogue import dialogue as read_dialogue
from sea_data.synthesis import source_database, verification_function
from sea_data.synthesis.procedural import task_generators
from sea_data.synthesis.run_state import RunSettings
from sea_env.domains import initial_state, registry
from sea_env.domains.base import Environment
from sea_env.domains.database import Database
from sea_env.domains.database_generator import Size
from sea_env.episodes.limits import Stop
from sea_env.tasks.task import Task
from sea_env.tokens.messages import calls_of
from sea_env.verify.function import finished_episode
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.verdict import Verifier, verify

pytestmark = pytest.mark.component
SAMPLED = 200


@pytest.fixture(scope="module", params=task_generators.names())
def made(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    run: Callable[..., Any],
) -> tuple[str, Path]:
    """A domain and a data set of 240 tasks."""
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    # Each telecom task begins with a database of its own, which the sandbox is sent whole.
    size = Size.SMALL if name == "telecom" else Size.MEDIUM
    found = source_database.generate(registry.get(name), 2, size, 0)
    state = run(folder, RunSettings(name, 240, seed=5), found)
    assert state.accepted == 240
    return name, folder


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def database(folder: Path, task: Task) -> Database:
    assert task.db_path is not None
    path = folder / task.db_path
    user = path.with_name("user_db.json")
    domain = registry.get(task.domain)
    return domain.parse(path.read_bytes(), path.name, user.read_bytes() if user.exists() else None)


def pairs(folder: Path) -> Iterator[tuple[Task, Dialogue, Database]]:
    """Sampled rows with their dialogues, read as training reads them."""
    known: dict[str, Database] = {}
    both = list(zip(rows(folder, "rl.jsonl"), rows(folder, "sft.jsonl"), strict=True))
    for row, dialogue in random.Random(0).sample(both, SAMPLED):
        task = rl.task(row)
        assert task.db_path is not None
        if task.db_path not in known:
            known[task.db_path] = database(folder, task)
        yield task, read_dialogue(dialogue), known[task.db_path]


def replayed(task: Task, messages: Any, base: Database) -> Environment:
    domain = registry.get(task.domain)
    environment = domain.open(initial_state.begin(domain, base, task.initial_state))
    for message in messages:
        for call in calls_of(message):
            environment.call(call["name"], call["arguments"], message["role"])
    return environment


def flaw(task: Task, dialogue: Dialogue, base: Database) -> str:
    """Why a row fails its own verification; empty where it doesn't."""
    domain, messages = registry.get(task.domain), dialogue.messages[1:]
    environment = replayed(task, messages, base)
    verdict = verify(domain, replace(task, verification_function=""), environment, messages)
    if verdict.reward != 1.0:
        return f"its basis: {verdict.parts}"
    episode = finished_episode(domain, task, environment, messages, Stop.USER_STOP)
    reward, reason = verification_function.run_own(task.verification_function, episode)
    return "" if reward == 1.0 else f"its function: {reason}"


def test_sampled_rows_pass_their_own_verification(made: tuple[str, Path]) -> None:
    """200 rows per domain; generated functions are safe to run in this process."""
    found = [(pair[0].id, flaw(*pair)) for pair in pairs(made[1])]
    assert len(found) == SAMPLED
    assert [(name, why) for name, why in found if why] == []


def without_last_write(dialogue: Dialogue, task: Task, base: Database) -> Dialogue:
    """The agent, or the user, leaves out the last call that changes something."""
    whole = replayed(task, dialogue.messages[1:], base)
    end = (whole.changes(), whole.changes("user"))
    for place in reversed(range(len(dialogue.messages))):
        if calls_of(dialogue.messages[place]):
            kept = [*dialogue.messages[:place], *dialogue.messages[place + 2 :]]
            left = replayed(task, kept[1:], base)
            if (left.changes(), left.changes("user")) != end:
                return replace(dialogue, messages=tuple(kept))
    raise AssertionError("no call of this dialogue changes anything")


def changing(folder: Path) -> Iterator[tuple[Task, Dialogue, Database]]:
    """Sampled rows whose dialogues change a database."""
    for task, dialogue, base in pairs(folder):
        end = replayed(task, dialogue.messages[1:], base)
        if end.changes() or end.changes("user"):
            yield task, dialogue, base


def test_the_sample_would_find_a_broken_row(made: tuple[str, Path]) -> None:
    """Rows broken in each of their parts, one at a time, so that the test above can fail."""
    found = [pair for pair, _ in zip(changing(made[1]), range(6), strict=False)]
    assert len(found) == 6
    sources = [task.verification_function for task, *_ in found]
    for task, dialogue, base in found:
        unsaid = replace(
            task, criteria=replace(task.criteria, communicate_info=["never said by anybody"])
        )
        said_basis = (*task.criteria.reward_basis, "COMMUNICATE")
        unsaid = replace(unsaid, criteria=replace(unsaid.criteria, reward_basis=said_basis))
        other = next(source for source in sources if source != task.verification_function)
        swapped = replace(task, verification_function=other)
        assert flaw(task, dialogue, base) == ""
        assert flaw(task, without_last_write(dialogue, task, base), base)
        assert "COMMUNICATE" in flaw(unsaid, dialogue, base)
        assert "its function" in flaw(swapped, dialogue, base)
        if "DB" in task.criteria.reward_basis:
            undone = replace(task, criteria=replace(task.criteria, actions=()))
            assert "'DB': 0.0" in flaw(undone, dialogue, base)


@pytest.mark.component
async def test_no_verified_row_fails_its_own_verification(made: tuple[str, Path]) -> None:
    """Basis and verification function, the latter in the real sandbox: 200 rows of each domain."""
    domain = registry.get(made[0])
    sandbox = FunctionSandbox(processes=2)
    verifier = Verifier(sandbox)

    async def score(task: Task, dialogue: Dialogue, base: Database) -> float:
        messages = dialogue.messages[1:]
        environment = replayed(task, messages, base)
        verdict = await verifier.verify(domain, task, environment, messages, Stop.USER_STOP)
        assert verdict.parts["FUNCTION"] == 1.0, verdict
        return verdict.reward

    try:
        rewards = await asyncio.gather(*(score(*pair) for pair in pairs(made[1])))
    finally:
        await sandbox.close()
    assert rewards == [1.0] * SAMPLED


@pytest.mark.component
async def test_functions_refuse_what_was_left_undone(made: tuple[str, Path]) -> None:
    """An agent that only talks fails every task that changes something, by its function too."""
    domain = registry.get(made[0])
    sandbox = FunctionSandbox(processes=2)
    verifier = Verifier(sandbox)
    refused = judged = 0
    try:
        for task, dialogue, base in list(pairs(made[1]))[:40]:
            done = replayed(task, dialogue.messages, base)
            if not done.changes() and not done.changes("user"):
                continue
            talk = [m for m in dialogue.messages[1:] if m["role"] in {"user", "assistant"}]
            untouched = replayed(task, (), base)
            verdict = await verifier.verify(domain, task, untouched, talk, Stop.USER_STOP)
            judged += 1
            refused += verdict.reward == 0.0
    finally:
        await sandbox.close()
    assert refused == judged > 10


def test_rows_say_where_they_come_from_and_are_all_different(made: tuple[str, Path]) -> None:
    name, folder = made
    tasks, dialogues = rows(folder, "rl.jsonl"), rows(folder, "sft.jsonl")
    assert len({row["id"] for row in tasks}) == 240
    wanted = {(row["db_path"], json.dumps(row["user_scenario"])) for row in tasks}
    assert len({*wanted}) > 200, "customers differ"
    for task, dialogue in zip(tasks, dialogues, strict=True):
        origin = task["provenance"]
        assert dialogue["metadata"]["provenance"] == origin
        assert dialogue["metadata"]["source_dialog_id"] == task["id"]
        assert (origin["seed"], origin["model"], origin["round"]) == (5, "procedural", 1)
        assert origin["plan"].startswith("p")
        assert dialogue["messages"][0]["content"].strip()
    assert all(row["id"].startswith(f"{name}_") for row in tasks)


def test_the_same_seed_gives_the_same_bytes(
    tmp_path: Path,
    run: Callable[..., Any],
    sources_of: Callable[[str], list[source_database.SourceDatabase]],
) -> None:
    for name in ("a", "b"):
        run(tmp_path / name, RunSettings("retail", 30, seed=3, plans=7), sources_of("retail"))
    run(tmp_path / "other", RunSettings("retail", 30, seed=4, plans=7), sources_of("retail"))
    first, second, other = (
        (tmp_path / name / "rl.jsonl").read_bytes() for name in ("a", "b", "other")
    )
    assert first == second != other


def test_mocks_inbox_goals_are_both_sides_work(tmp_path: Path, run: Callable[..., Any]) -> None:
    """No agent tool returns the inbox's content, so the customer has to look."""
    found = source_database.generate(registry.get("mock"), 1, Size.MEDIUM, 0)
    run(tmp_path, RunSettings("mock", 60, plans=18), found)
    noticed = [row for row in rows(tmp_path, "rl.jsonl") if row.get("initial_state")]
    assert {row["provenance"]["goals"][0] for row in noticed} >= {"reported_done", "dismiss"}
    for row in noticed:
        given = [begun["arguments"] for begun in row["initial_state"]["initialization_actions"]]
        actions = json.loads(row["evaluation_criteria"])["actions"]
        mine = [one["arguments"] for one in actions if one.get("requestor") == "user"]
        assert mine == [{}, {"notification_id": given[0]["notification_id"]}]
        assert given[0]["task_id"] not in json.dumps(row["user_scenario"])
