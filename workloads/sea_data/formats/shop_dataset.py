"""`sea data shop`: the demo's data set, procedural and seeded, in the published layout.

    databases/train_000.json ...  entities of training       rl_train.jsonl   tasks on them
    databases/test_000.json ...   held-out entities          rl_test.jsonl    tasks on them
    sft.jsonl        teacher dialogues, entities of training only
    user_sft.jsonl   dialogues of a teacher that sometimes slips, all entities

The user model is part of the simulator, not of what is tested: it may know the held-out entities,
and it must know how to answer an agent that is still learning. Every dialogue runs on the real
environment and is verified before it is written.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sea_data.formats import dialogue, jsonl, rl
from sea_env.domains import registry
from sea_env.domains.database import Database
from sea_env.domains.shop import database_generator, teacher
from sea_env.domains.shop.domain import CLOSING
from sea_env.domains.shop.entities import Split
from sea_env.domains.shop.scenario import Script
from sea_env.episodes.conversation import AgentNext, Conversation, Over, UserNext
from sea_env.episodes.limits import Limits
from sea_env.tasks.task import Task
from sea_env.tokens.messages import AgentTurn
from sea_env.users.scripted import ScriptedUser
from sea_env.verify.verdict import verify

_DIALOGUES_PER_DATABASE = 20
_SLIPS_PER_TURN = 0.12
_SLIPS = (
    teacher.ASK_ORDER,
    teacher.ASK_EMAIL,
    "To which address?",
    "Done.",
    "A colleague takes over.",
    "It is 35.",
)
_LIMITS = Limits(max_turns=20, max_tokens_per_turn=1, context_length=1)
Tables = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """Numbers of dialogues, tasks and databases."""

    dialogues: int = 3200
    train_tasks: int = 1000
    test_tasks: int = 128
    train_databases: int = 16
    test_databases: int = 4


def files(sizes: Sizes, seed: int) -> Iterator[tuple[str, Iterator[str]]]:
    """(relative path, lines) of every file of the data set."""
    train = databases(Split.TRAIN, sizes.train_databases, seed)
    test = databases(Split.TEST, sizes.test_databases, seed)
    for path, tables in {**train, **test}.items():
        yield path, iter([jsonl.dumps(tables)])
    yield "rl_train.jsonl", tasks(Split.TRAIN, train, sizes.train_tasks, seed)
    yield "rl_test.jsonl", tasks(Split.TEST, test, sizes.test_tasks, seed)
    yield "sft.jsonl", dialogues(Split.TRAIN, sizes.dialogues, seed)
    yield "user_sft.jsonl", dialogues(Split.ALL, sizes.dialogues, seed, _SLIPS_PER_TURN)


def databases(split: Split, count: int, seed: int) -> dict[str, Tables]:
    """Databases by their path in the data set."""
    rng = _rng(seed, split, "databases")
    return {
        f"databases/{split}_{i:03}.json": database_generator.tables(split, rng)
        for i in range(count)
    }


def tasks(split: Split, found: dict[str, Tables], count: int, seed: int) -> Iterator[str]:
    """Task rows; `db_path` is relative to the data set's root."""
    rng = _rng(seed, split, "tasks")
    paths = list(found)
    for index in range(count):
        path = paths[index % len(paths)]
        script = database_generator.draw_script(found[path], rng)
        yield jsonl.dumps(_row(f"shop_{split}_{index}", script, found[path], path))


def _row(row_id: str, script: Script, tables: Tables, db_path: str) -> dict[str, Any]:
    actions, info = database_generator.expected(script, tables)
    criteria = {
        "actions": actions,
        "communicate_info": [*info, CLOSING],
        "reward_basis": ["DB", "COMMUNICATE"],
    }
    return rl.task_row(row_id, script.reason, script.scenario(), criteria, db_path)


def dialogues(split: Split, count: int, seed: int, slips: float = 0.0) -> Iterator[str]:
    """Dialogue rows of the teacher with the scripted customer.

    `slips` is the probability per agent turn that the teacher says something senseless first.
    """
    rng = _rng(seed, split, "dialogues")
    tables: Tables = {}
    database = Database({})
    for index in range(count):
        if index % _DIALOGUES_PER_DATABASE == 0:
            tables = database_generator.tables(split, rng)
            database = Database(tables)
        row = _row(
            f"shop_{split}_{index}",
            database_generator.draw_script(tables, rng),
            tables,
            "none.json",
        )
        messages, reward = _until_solved(rl.task(row), database, rng, slips)
        row_id = f"shop_sft_{split}_{index}"
        yield jsonl.dumps(dialogue.dialogue_row(row_id, messages, row["user_scenario"], reward))


Played = tuple[list[dict[str, Any]], float]


def _until_solved(task: Task, database: Database, rng: random.Random, slips: float) -> Played:
    """Plays until the task is solved: a teacher that slips too often loses its customer."""
    while True:
        messages, reward = play(task, database, rng.getrandbits(32), slips)
        if reward == 1.0 or not slips:
            return messages, reward


def play(task: Task, database: Database, seed: int, slips: float = 0.0) -> Played:
    """The teacher's dialogue on a task, system prompt first, and its reward."""
    rng = random.Random(seed)  # noqa: S311 - data, not secrets
    domain = registry.get("shop")
    conversation = Conversation(domain, domain.open(database), _LIMITS)
    user = ScriptedUser(task.scenario, seed)
    following = conversation.start()
    while not isinstance(following, Over):
        if isinstance(following, UserNext):
            following = conversation.user(user.say(following.heard))
        else:
            assert isinstance(following, AgentNext)
            slipped = rng.random() < slips
            turn = AgentTurn(rng.choice(_SLIPS)) if slipped else teacher.turn(conversation.messages)
            following = conversation.agent(turn)
    verdict = verify(domain, task, conversation.environment, conversation.messages, following.stop)
    system = {"role": "system", "content": domain.system_prompt()}
    return [system, *conversation.messages], verdict.reward


def _rng(seed: int, split: Split, purpose: str) -> random.Random:
    return random.Random(f"{seed}/{split}/{purpose}")  # noqa: S311 - data, not secrets
