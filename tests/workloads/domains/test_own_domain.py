"""A package's own domain joins by an entry point: the example of docs/adding-a-domain.md."""

import json
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sea_workloads.cli import main
from sea_workloads.data import rl
from sea_workloads.data.replay import replay
from sea_workloads.domains import registry, worlds
from sea_workloads.domains.base import Domain, ToolError
from sea_workloads.domains.database import Database
from sea_workloads.domains.registry import BrokenDomainError, UnknownDomainError
from sea_workloads.verify.verdict import verify

EXAMPLE = Path(__file__).parents[3] / "examples" / "domain_library.py"
DOCUMENT = EXAMPLE.parents[1] / "docs" / "adding-a-domain.md"
LEND = {"name": "lend_book", "arguments": {"card": "M1", "book": "B2"}}
TABLES = {
    "members": {"M1": {"card": "M1", "loans": ["B1"]}, "M2": {"card": "M2", "loans": []}},
    "books": {
        "B1": {"book": "B1", "title": "Maps and Tides", "holder": "M1"},
        "B2": {"book": "B2", "title": "Letters and Lamps", "holder": None},
    },
}
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with entry points on the path, as pip would."""

    def put(name: str, value: str) -> None:
        shutil.copy(EXAMPLE, tmp_path / "domain_library.py")
        info = tmp_path / "my_domains-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-domains\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {value}\n")
        monkeypatch.syspath_prepend(tmp_path)
        forget()

    def forget() -> None:
        sys.modules.pop("domain_library", None)
        registry._installed.cache_clear()
        registry.get.cache_clear()

    yield put
    monkeypatch.undo()
    forget()


@pytest.fixture
def library(install: Install) -> Domain:
    install("library", "domain_library:Library")
    return registry.get("library")


@pytest.fixture
def database(library: Domain) -> Database:
    return library.parse(json.dumps(TABLES).encode(), "db.json")


def test_it_stands_beside_ours(library: Domain) -> None:
    assert "library" in registry.names()
    assert registry.get("library") is library
    assert registry.get("retail").name == "retail"
    assert len(EXAMPLE.read_text().splitlines()) < 100


def test_its_tools_work_and_refuse(library: Domain, database: Database) -> None:
    world = library.open(database)
    assert json.loads(world.call("find_books", {"title": "lamps"}).content)[0]["book"] == "B2"
    assert not world.call(LEND["name"], LEND["arguments"]).error
    assert world.changes() == [
        {"path": "/books/B2/holder", "value": "M1"},
        {"path": "/members/M1/loans", "value": ["B1", "B2"]},
    ]
    again = world.call("lend_book", {"card": "M2", "book": "B2"})
    assert again.content == "Error: Somebody holds the book"
    assert world.call("return_book", {"book": "B9"}).content == "Error: There is no book B9"
    assert not world.call("return_book", {"book": "B1"}).error
    assert world.check("is_free", {"book": "B1"})
    assert not library.open(database).check("is_free", {"book": "B1"})


def task(**criteria: Any) -> Any:
    return rl.task({"id": "library_1", "evaluation_criteria": {"actions": [LEND], **criteria}})


def test_a_task_on_it_replays(library: Domain, database: Database) -> None:
    outcome = replay(library, task(), database)
    assert [call["error"] for call in outcome["gold_calls"]] == [False]
    assert len(outcome["agent_db_changes"]) == 2


@pytest.mark.parametrize(("book", "reward"), [("B2", 1.0), ("B1", 0.0)])
def test_an_episode_on_it_is_verified(
    library: Domain, database: Database, book: str, reward: float
) -> None:
    free = {"func_name": "is_free", "arguments": {"book": "B2"}, "assert_value": False}
    wanted = task(env_assertions=[free], reward_basis=["DB", "ENV_ASSERTION"])
    world = library.open(database)
    world.call("lend_book", {"card": "M1", "book": book})
    assert verify(library, wanted, world, []).reward == reward


@pytest.mark.parametrize("arguments", [{}, {"bok": "B2"}, {"book": "B2", "state": 1}])
def test_an_assertion_that_cant_take_its_arguments_has_failed(
    library: Domain, database: Database, arguments: dict[str, Any]
) -> None:
    wrong = {"func_name": "is_free", "arguments": arguments}
    wanted = task(env_assertions=[wrong], reward_basis=["ENV_ASSERTION"])
    with pytest.raises(ToolError, match="is_free can't take its arguments: "):
        library.open(database).check("is_free", arguments)
    assert verify(library, wanted, library.open(database), []).reward == 0.0


def block(kind: str, number: int) -> str:
    """The n-th code block of that kind in the documentation."""
    return DOCUMENT.read_text().split(f"```{kind}\n")[number].split("```")[0]


def test_the_document_shows_what_runs(library: Domain) -> None:
    assert block("python", 1) in EXAMPLE.read_text()
    shown = library.parse(block("json", 1).encode(), "db.json")
    assert shown.agent["members"]["M1"] == TABLES["members"]["M1"]
    described = rl.task(json.loads(block("json", 2)))
    world = library.open(library.parse(json.dumps(TABLES).encode(), "db.json"))
    assert verify(library, described, world, []).reward == 0.0
    world.call(LEND["name"], LEND["arguments"])
    assert verify(library, described, world, []).reward == 1.0
    points = tomllib.loads(block("toml", 1))["project"]["entry-points"]
    assert list(points) == [registry.GROUP]


def test_its_worlds_are_made_by_the_same_command(library: Domain, tmp_path: Path) -> None:
    world = worlds.make("library", "small", 1)
    assert worlds.make("library", "small", 1) == world
    out = tmp_path / "out"
    arguments = ["--domain", "library", "--size", "medium", "--out", str(out)]
    assert main(["data", "world", *arguments]) == 0
    found = library.parse((out / "db.json").read_bytes(), "db.json")
    assert len(found.agent["members"]) == 200
    assert "three books" in library.system_prompt((out / "policy.md").read_text())


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("library", "nowhere:Library", "doesn't load: ModuleNotFoundError"),
        ("library", "domain_library:Missing", "doesn't load: AttributeError"),
        ("library", "builtins:dict", "isn't a domain: it has no tools, user_tools"),
        ("books", "domain_library:Library", "must have that very name as its `name`"),
    ],
)
def test_a_broken_one_is_a_sentence(install: Install, name: str, value: str, reason: str) -> None:
    install(name, value)
    with pytest.raises(BrokenDomainError, match=reason):
        registry.get(name)


def test_ours_cannot_be_replaced(install: Install) -> None:
    install("retail", "domain_library:Library")
    assert registry.get("retail").name == "retail"
    assert len(registry.names()) == len(set(registry.names()))


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(UnknownDomainError, match=r"no domain 'mars'; use one of airline, "):
        registry.get("mars")
