"""Rows with anything anywhere: each is a RowError that names its field, or one that can be used."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from sea_data.errors import RowError
from sea_data.formats import jsonl, perspective, rl, shop_dataset
from sea_data.formats.dialogue import dialogue
from sea_data.formats.inspection import Inspector
from sea_env.domains import registry
from sea_env.domains.database_generator import Size, generate_database
from sea_env.domains.shop.entities import Split
from sea_env.users.base import task_user_tools
from sea_env.users.prompt import system_prompt
from sea_env.users.scripted import ScriptedUser

ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, 10**18, "", "x", "assistant", "[1]", '{"a": []}', "../x"),
    *([], [[]], [None], ["x"], [1], {}, {"a": 1}, {"name": "x"}, ...),
]
"""What takes a part's place; the ellipsis leaves it out."""
CALL = {"name": "get_data_usage", "arguments": {"customer_id": "C1", "line_id": "L1"}}
TELECOM: dict[str, Any] = {
    "id": "telecom_1",
    "db_path": "db.json",
    "user_scenario": {"persona": None, "instructions": {"domain": "telecom", "known_info": "x"}},
    "initial_state": {
        "initialization_data": {"user_data": {"device": {}}},
        "initialization_actions": [
            {"env_type": "user", "func_name": "turn_data_off", "arguments": {}},
        ],
        "message_history": [{"role": "user", "content": "Hello."}],
    },
    "evaluation_criteria": {
        "actions": [{**CALL, "requestor": "assistant", "compare_args": ["line_id"]}],
        "env_assertions": [
            {
                "env_type": "user",
                "func_name": "assert_mobile_data_status",
                "arguments": {"expected_status": True},
                "assert_value": True,
            }
        ],
        "communicate_info": ["5 GB"],
        "reward_basis": ["ENV_ASSERTION", "ACTION"],
    },
}
DIALOGUE: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Policy."},
        {"role": "user", "content": "", "tool_calls": [{"name": "look", "arguments": {}}]},
        {"role": "tool", "content": "5G", "requestor": "user"},
        {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning": "Look."},
        {"role": "tool", "content": "{}"},
    ],
    "answer": {"role": "assistant", "content": "Bye.", "thinking": "", "tool_calls": None},
    "metadata": {
        "source_dialog_id": "a",
        "turn_index": 1,
        "correct": 1,
        "reward": 1.0,
        "user_scenario": TELECOM["user_scenario"],
    },
}


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Inspector:
    root = tmp_path_factory.mktemp("root")
    world = generate_database(registry.get("telecom"), Size.SMALL, 0)
    (root / "db.json").write_text(json.dumps(world.agent))
    (root / "user_db.json").write_text(json.dumps(world.user))
    for path, tables in shop_dataset.databases(Split.TRAIN, 1, seed=0).items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(json.dumps(tables))
    return Inspector("", root)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to all parts of a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in parts:
        yield (*place, key)
        if isinstance(item, dict | list):
            yield from places(item, (*place, key))


def spoiled(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    *way, last = rng.choice(list(places(row)))
    result = part = copy.deepcopy(row)
    for key in way:
        part = part[key]
    part[last] = copy.deepcopy(rng.choice(ODD))
    if part[last] is ...:
        del part[last]
    return result


def use(row: dict[str, Any]) -> None:
    """What training and rollouts do first with a row."""
    if "messages" in row:
        found = dialogue(row)
        for side in (perspective.agent_side(found), perspective.exchange(found)):
            json.dumps([dict(message) for message in side.messages]).encode()
        return
    task = rl.task(row)
    tools = task_user_tools(registry.get(task.domain), task)
    assert system_prompt(task.scenario, tools=True)
    assert ScriptedUser(task.scenario, 1, tools).say([])


def rows() -> list[dict[str, Any]]:
    tables = shop_dataset.databases(Split.TRAIN, 1, seed=0)
    (task,) = map(json.loads, shop_dataset.tasks(Split.TRAIN, tables, 1, seed=1))
    criteria = json.loads(task["evaluation_criteria"])
    return [TELECOM, DIALOGUE, task, {**task, "evaluation_criteria": criteria}]


def test_any_part_of_any_type(inspector: Inspector) -> None:
    rng = random.Random(5)
    good, bad, known = 0, list[RowError](), rows()
    for _ in range(2000):
        given = spoiled(copy.deepcopy(rng.choice(known)), rng)
        row = jsonl.parse(json.dumps(given).encode(), "f", 1)
        assert not isinstance(row, RowError)
        try:
            inspector.notes(row)
        except RowError as error:
            bad.append(error)
            continue
        good += 1
        use(row)
    assert all(error.field for error in bad)
    assert min(good, len(bad)) > 500


def test_untouched_rows_are_good(inspector: Inspector) -> None:
    def refused(row: Any) -> RowError | None:
        try:
            inspector.notes(row)
        except RowError as error:
            return error
        use(row)
        return None

    assert [error for row in rows() if (error := refused(row))] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"instructions": [1]}, "user_scenario.instructions"),
        ({"instructions": {"domain": ["shop"]}}, "user_scenario.instructions.domain"),
        ({"script": "x"}, "user_scenario.script"),
        ({"script": {"intent": "fly", "order": "", "email": "", "opening": "order"}}, "can't be"),
        ({"script": {"intent": "cancel"}}, "lacks 'order'"),
    ],
)
def test_what_a_user_is_played_from_has_a_form(change: dict[str, Any], field: str) -> None:
    with pytest.raises(RowError, match=field):
        rl.task({**TELECOM, "user_scenario": change})
    with pytest.raises(RowError, match=f"metadata.*{field}"):
        dialogue({**DIALOGUE, "metadata": {"user_scenario": change}})
