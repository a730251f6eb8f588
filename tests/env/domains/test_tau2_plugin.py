"""tau2-bench's domains as `Domain`s, tested with a small package of the same interface."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sea_data.evaluation.playing.tasks import Folder
from sea_data.formats import rl
from sea_data.formats.inspection import replay
from sea_env.domains import initial_state, registry
from sea_env.domains.base import Domain, Kind, ToolError, UnknownAssertionError
from sea_env.domains.database import Database, DatabaseError
from sea_env.domains.database_generator import NoGeneratorError, generate_database
from sea_env.domains.registry import UnknownDomainError
from sea_env.verify.verdict import UnverifiableTaskError, check_verifiable, verify
from sea_testing import fake_tau2
from sea_testing.fake_tau2 import FILES, ON, REGISTRY, forget


def install(folder: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tau2.write(folder, files)
    monkeypatch.syspath_prepend(folder)
    forget()


@pytest.fixture
def lamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Domain]:
    install(tmp_path, FILES, monkeypatch)
    yield registry.get("tau2:lamps")
    monkeypatch.undo()
    forget()


@pytest.fixture
def database(lamps: Domain) -> Database:
    return lamps.parse(b'{"lamps": {"hall": false, "door": false}}', "db.json")


def test_it_is_a_domain_like_the_built_in_ones(lamps: Domain) -> None:
    assert [(tool.name, tool.kind) for tool in lamps.tools] == [("switch", Kind.WRITE)]
    assert [(tool.name, tool.kind) for tool in lamps.user_tools] == [("look", Kind.READ)]
    assert sorted(lamps.assertions) == ["assert_fuse", "assert_on"]
    prompt = lamps.system_prompt()
    assert "Switch lamps." in prompt
    assert '"name": "switch"' in prompt


def test_it_generates_no_databases_and_says_so(lamps: Domain) -> None:
    with pytest.raises(NoGeneratorError, match="tau2:lamps generates no databases: give a folder"):
        generate_database(lamps, "small", 1)


def test_calls_of_both_sides_and_what_they_change(lamps: Domain, database: Database) -> None:
    world = lamps.open(database)
    assert json.loads(world.call("switch", {"lamp": "hall", "on": True}).content)["on"] is True
    assert world.call("look", {}, "user").content == "light"
    assert world.changes() == [{"path": "/lamps/hall", "value": True}]
    assert world.changes("user") == [{"path": "/seen/light", "value": True}]
    missing = world.call("switch", {"lamp": "x", "on": True})
    assert (missing.content, missing.error) == ("Error: Lamp x not found", True)
    assert lamps.open(database).changes() == [], "episodes don't share what they change"


def test_what_tau2_keeps_on_a_class_is_fresh_in_each_episode(
    lamps: Domain, database: Database
) -> None:
    """telecom's `break_vpn` writes into such a record: later episodes began with a slow VPN."""
    first = lamps.open(database)
    first.setup("break_fuse", {}, "user")
    assert not first.check("assert_fuse", {})
    assert lamps.open(database).check("assert_fuse", {})


def test_assertions_answer_or_raise(lamps: Domain, database: Database) -> None:
    world = lamps.open(database)
    assert not world.check("assert_on", {"lamp": "hall"})
    with pytest.raises(ToolError):
        world.check("assert_on", {"lamp": "x"})
    with pytest.raises(UnknownAssertionError):
        world.check("assert_off", {})


def test_initial_states_are_set_up_by_tau2(lamps: Domain, database: Database) -> None:
    state = {
        "initialization_data": {"agent_data": {"lamps": {"attic": True}}},
        "initialization_actions": [
            {"env_type": "assistant", "func_name": "switch", "arguments": ON["arguments"]}
        ],
    }
    world = lamps.open(initial_state.begin(lamps, database, state))
    assert world.changes() == []
    assert world.check("assert_on", {"lamp": "attic"})
    assert world.check("assert_on", {"lamp": "hall"})


def test_tasks_replay_and_are_verified(lamps: Domain, database: Database) -> None:
    criteria: dict[str, Any] = {
        "actions": [ON],
        "env_assertions": [{"func_name": "assert_on", "arguments": {"lamp": "hall"}}],
        "reward_basis": ["DB", "ENV_ASSERTION"],
    }
    task = rl.task({"id": "1", "domain": "tau2:lamps", "evaluation_criteria": criteria})
    assert replay(lamps, task, database)["env_assertions"] == [True]
    world = lamps.open(database)
    assert verify(lamps, task, world, []).reward == 0.0
    world.call("switch", ON["arguments"])
    assert verify(lamps, task, world, []).reward == 1.0


def test_a_broken_database_is_refused_with_its_place(lamps: Domain) -> None:
    with pytest.raises(DatabaseError, match=r"x\.json is wrong at lamp"):
        lamps.parse(b'{"lamp": {}}', "x.json")


def test_a_domain_that_it_does_not_have_is_unknown(lamps: Domain) -> None:
    with pytest.raises(UnknownDomainError, match=r"no domain for tau2:sofas"):
        registry.get("tau2:sofas")


def test_rows_of_its_bare_name_are_checked_against_it(lamps: Domain, tmp_path: Path) -> None:
    """Assertions that only tau2-bench knows; a folder in its layout, called by the bare name."""
    criteria = {"env_assertions": [{"func_name": "assert_off"}], "reward_basis": ["ENV_ASSERTION"]}
    row = {"id": "1", "domain": "tau2:lamps", "evaluation_criteria": criteria}
    with pytest.raises(UnverifiableTaskError, match=r"assert_off.*tau2:lamps doesn't have"):
        check_verifiable(rl.task(row))
    folder = tmp_path / "data" / "lamps"
    folder.mkdir(parents=True)
    (folder / "tasks.json").write_text('[{"id": "1", "evaluation_criteria": {}}]')
    found = Folder(tmp_path / "data", lamps)
    assert found.root == folder
    assert [task.domain for task in found.tasks()] == ["tau2:lamps"]


def test_missing_data_of_tau2_names_the_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = REGISTRY.replace("db or Lamps()", "open('/nowhere/db.json')")
    install(tmp_path, {**FILES, "tau2/registry.py": broken}, monkeypatch)
    try:
        with pytest.raises(UnknownDomainError, match=r"can't open .*nowhere.*TAU2_DATA_DIR"):
            registry.get("tau2:lamps")
    finally:
        monkeypatch.undo()
        forget()


@pytest.mark.parametrize("files", [{}, {"tau2/__init__.py": "chemistry = True"}])
def test_neither_a_missing_package_nor_its_namesake_is_tau2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]
) -> None:
    install(tmp_path, files, monkeypatch)
    try:
        with pytest.raises(UnknownDomainError, match="needs tau2-bench"):
            registry.get("tau2:retail")
    finally:
        monkeypatch.undo()
        forget()
