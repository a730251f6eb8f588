"""The data check of a job: what its own settings decide, over objects in a dictionary."""

import json
from typing import Any

import pytest

from sea_data.object_store import ObjectNotFoundError
from sea_env.domains import registry
from sea_env.domains.database_generator import generate_database
from sea_runtime.coordinator.data_check import CheckedData, check, digest
from sea_runtime.coordinator.errors import PreconditionError
from sea_testing.coordinator import inprocess as kit

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
