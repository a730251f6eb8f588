"""The data check of a job: what its own settings decide, over objects in a dictionary."""

import json
from typing import Any

import pytest

from sea_data.formats.model_demands import Demand
from sea_data.object_store import ObjectNotFoundError
from sea_env.domains import registry
from sea_env.domains.database_generator import generate_database
from sea_runtime.coordinator import model_files, stage_plan
from sea_runtime.coordinator.data_check import CheckedData, check, digest
from sea_runtime.coordinator.errors import BadRowError, PreconditionError
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore
from sea_testing.models import REFUSES, put_tiny_model

JUDGE = {"judge": {"url": "http://judge/v1", "model": "m"}}
CRITERIA = {"nl_assertions": ["It is kind."], "reward_basis": ["DB", "NL_ASSERTION"]}


class Bucket:
    """What the check asks of the object store."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get(self, url: str) -> bytes:
        if url not in self.objects:
            raise ObjectNotFoundError(f"{url} does not exist.")
        return self.objects[url]

    def size(self, url: str) -> int | None:
        return len(self.objects[url]) if url in self.objects else None

    def read_range(self, url: str, start: int, length: int) -> bytes:
        return self.objects[url][start : start + length]


def job(domain: str, **spec: Any) -> Any:
    given = kit.spec().model_dump(by_alias=True, exclude_none=True)
    data = {"rl": [kit.FILE], "databases": "s3://bucket/db"}
    changed = {**given, "domains": [domain], "data": data, **spec}
    return kit.desired(type(kit.spec()).model_validate(changed))


def bucket(domain: str, criteria: Any, db_path: str | None = None) -> Bucket:
    row = {"id": f"{domain}_1", "evaluation_criteria": json.dumps(criteria), "db_path": db_path}
    return Bucket({kit.FILE: json.dumps(row).encode()})


def test_a_judge_of_the_job_decides_on_tasks_for_a_judge() -> None:
    store: Any = bucket("shop", CRITERIA)
    with pytest.raises(PreconditionError, match=r"line 1: .*spec\.verifier\.judge") as caught:
        check(store, job("shop"))
    assert caught.value.problem.reason == "NotVerifiable"
    assert len(check(store, job("shop", verifier=JUDGE)).rows([kit.FILE]) or ()) == 1
    assert digest(job("shop"), ()) != digest(job("shop", verifier=JUDGE), ()), "checked again"


def test_the_users_database_is_read_too() -> None:
    made = generate_database(registry.get("telecom"), "small", 1).files()
    store: Any = bucket("telecom", {}, "x_db.json")
    store.objects["s3://bucket/db/x_db.json"] = made["db.json"].encode()
    store.objects["s3://bucket/db/x_user_db.json"] = b"{"
    with pytest.raises(PreconditionError, match=r"isn't valid JSON") as caught:
        check(store, job("telecom"))
    assert caught.value.problem.reason == "BadDatabase"
    store.objects["s3://bucket/db/x_user_db.json"] = made["user_db.json"].encode()
    assert len(check(store, job("telecom")).rows([kit.FILE]) or ()) == 1


def test_an_initial_state_that_does_not_fit_is_reported_with_its_row() -> None:
    """Or skipped; not found out by an episode that can't begin."""
    made = generate_database(registry.get("retail"), "small", 1).files()["db.json"]
    order = next(iter(json.loads(made)["orders"]))
    row = {"id": "retail_1", "evaluation_criteria": "{}", "db_path": "db.json"}
    wrong = {"initialization_data": {"agent_data": {"orders": {order: {"status": "lost"}}}}}
    lines = [json.dumps(row), json.dumps({**row, "initial_state": wrong})]
    store: Any = Bucket(
        {kit.FILE: "\n".join(lines).encode(), "s3://bucket/db/db.json": made.encode()}
    )
    with pytest.raises(PreconditionError, match=r"line 2: initial_state can't be set up") as caught:
        check(store, job("retail"))
    assert caught.value.problem.reason == "BadRow"
    assert f"is wrong at orders.{order}.status: " in str(caught.value)
    data = {"rl": [kit.FILE], "databases": "s3://bucket/db", "onBadRow": "Skip"}
    found = check(store, job("retail", data=data))
    assert [row.line for row in found.rows([kit.FILE]) or ()] == [1]
    assert found.skipped == {"BadRow": 1}


def test_a_file_that_is_not_checked_yet_gives_no_rows() -> None:
    """An edit may name one: rollouts wait for its check instead of failing."""
    assert CheckedData({"s3://b/a.jsonl": []}).rows(["s3://b/a.jsonl", "s3://b/new.jsonl"]) is None


LATER: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {"role": "system", "content": "Now be brief."},
        {"role": "user", "content": "Well?"},
    ],
    "answer": {"role": "assistant", "content": "Yes."},
}
DIALOGUES = "s3://bucket/sft.jsonl"


def trains(kind: str, on_bad_row: str = "Fail", **row: Any) -> tuple[Any, Any]:
    """The job with one training stage, and a bucket with two rows of which the second is `row`."""
    stage = {"name": "a", "type": kind, {"SFT": "sft", "UserSFT": "userSFT"}[kind]: {}}
    data = {"sft": [DIALOGUES], "onBadRow": on_bad_row}
    plain = {**LATER, "messages": LATER["messages"][:2]}
    lines = "\n".join(json.dumps(one) for one in (plain, {**LATER, **row}))
    served = {"engine": "VLLM" if kind == "UserSFT" else "Scripted"}
    wanted = job("shop", stages=[stage], data=data, userModel=served)
    return wanted, Bucket({DIALOGUES: lines.encode()})


def test_what_a_dialogue_asks_of_the_model_is_known_with_its_line() -> None:
    """Which template the model has is known later; the trainer found it on GPUs."""
    wanted, store = trains("SFT")
    found = check(store, wanted).demands
    assert list(found) == [stage_plan.POLICY]
    ((demand, problem),) = found[stage_plan.POLICY].items()
    assert demand is Demand.LATER_SYSTEM
    assert str(problem).startswith(f"{DIALOGUES} line 2: messages[2] is a system message after")


@pytest.mark.parametrize(
    ("kind", "on_bad_row", "metadata"),
    [
        ("UserSFT", "Fail", {}),  # the user's side has no system message but its own
        ("SFT", "Skip", {}),  # the trainer leaves it out and counts it
        ("SFT", "Fail", {"reward": 0.0}),  # nothing trains on it
    ],
)
def test_a_dialogue_that_no_stage_trains_as_it_is_asks_nothing(
    kind: str, on_bad_row: str, metadata: dict[str, Any]
) -> None:
    wanted, store = trains(kind, on_bad_row, metadata=metadata)
    assert not any(check(store, wanted).demands.values())


@pytest.mark.parametrize("refuses", [True, False])
def test_a_template_without_later_system_messages_refuses_them(refuses: bool) -> None:
    wanted, rows = trains("SFT")
    found, store = check(rows, wanted), MemoryStore()
    put_tiny_model(store, "s3://b/m", REFUSES if refuses else "message.content")
    folders: Any = {stage_plan.POLICY: "s3://b/m", stage_plan.USER: "s3://b/other"}
    if not refuses:
        model_files.check_data(store, wanted.spec, folders, found)  # type: ignore[arg-type]
        return
    with pytest.raises(BadRowError, match=r"sft\.jsonl line 2: messages\[2\] is a system message"):
        model_files.check_data(store, wanted.spec, folders, found)  # type: ignore[arg-type]


def test_a_tag_that_no_user_can_say_is_a_bad_row_of_a_users_stage() -> None:
    """The trainer alone refused it, on GPUs."""
    said = [{"role": "user", "content": "Say <think>."}]
    wanted, store = trains("UserSFT", messages=said)
    with pytest.raises(BadRowError, match=r"line 2: messages\[0\]\.content has <think>"):
        check(store, wanted)
    wanted, store = trains("UserSFT", "Skip", messages=said)
    assert sum(check(store, wanted).skipped.values()) == 1
    wanted, store = trains("SFT", messages=said)
    check(store, wanted)


def test_a_bad_row_of_a_file_that_two_streams_train_on_is_counted_once() -> None:
    wanted, store = trains("UserSFT", "Skip", messages="none")
    given = wanted.spec.model_dump(by_alias=True, exclude_none=True)
    given["stages"].insert(0, {"name": "b", "type": "SFT", "sft": {}})
    both = kit.desired(type(wanted.spec).model_validate(given))
    assert sum(check(store, both).skipped.values()) == 1
