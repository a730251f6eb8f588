"""A package adds a domain by an entry point: the example of docs/adding-a-domain.md."""

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from pydantic import TypeAdapter

from sea_api.v1alpha1.domains import Domain as DomainName
from sea_api.v1alpha1.pods import PodTemplate
from sea_cli import main
from sea_data.evaluation.playing import service
from sea_data.formats import rl
from sea_data.formats.inspection import replay
from sea_data.synthesis.procedural import task_generators
from sea_env.chat import Address
from sea_env.domains import registry
from sea_env.domains.base import Domain, ToolError
from sea_env.domains.database import Database
from sea_env.domains.database_generator import generate_database
from sea_env.domains.registry import BrokenDomainError, UnknownDomainError
from sea_env.verify.verdict import verify
from sea_testing import own_domain

DOCUMENT = own_domain.EXAMPLE.parents[1] / "docs" / "adding-a-domain.md"
LEND: dict[str, Any] = {"name": "lend_book", "arguments": {"card": "M1", "book": "B2"}}
TABLES: dict[str, Any] = {
    "members": {"M1": {"card": "M1", "loans": ["B1"]}, "M2": {"card": "M2", "loans": []}},
    "books": {
        "B1": {"book": "B1", "title": "Maps and Tides", "holder": "M1"},
        "B2": {"book": "B2", "title": "Letters and Lamps", "holder": None},
    },
}
NEEDING = ("coordinator", "rollout")
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with entry points on the path, as pip does."""

    def put(name: str, value: str, distribution: str = "My_Library") -> None:
        own_domain.write(tmp_path, distribution=distribution, point=f"{name} = {value}")
        monkeypatch.syspath_prepend(tmp_path)
        own_domain.forget()

    yield put
    monkeypatch.undo()
    own_domain.forget()


@pytest.fixture
def library(install: Install) -> Domain:
    install("library", "my_library.domain:Library")
    return registry.get("library")


@pytest.fixture
def database(library: Domain) -> Database:
    return library.parse(json.dumps(TABLES).encode(), "db.json")


def test_it_joins_the_built_in_domains(library: Domain) -> None:
    assert own_domain.NAME in registry.names()
    assert registry.get("library") is registry.get(own_domain.NAME) is library
    assert registry.full_name(library) == own_domain.NAME
    assert not registry.is_built_in(library)
    assert registry.full_name(registry.get("retail")) == "retail"
    assert registry.get("retail").name == "retail"
    assert len(own_domain.EXAMPLE.read_text().splitlines()) < 100


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


PLAIN = """
from my_library.domain import find_book, lend_book
from sea_env.domains.database import Database, parse_tables
from sea_env.domains.environment import Toolbox, ToolEnvironment

class Plain:
    name, tools, user_tools, functions = "library", (lend_book,), (), ()
    assertions, max_bad_turns, policy_file = ("is_free",), 0, None
    toolbox = Toolbox(
        agent={"lend_book": lend_book},
        user={},
        assertions={"is_free": lambda state, book: not find_book(state, book)["holder"]},
    )
    def system_prompt(self, policy=None):
        return policy or "Lend books."
    def parse(self, data, name, user_data=None):
        return Database(parse_tables(data, name))
    def open(self, database):
        return ToolEnvironment(database, self.toolbox)
"""


def test_a_class_without_the_base_class_is_a_domain_too(install: Install, tmp_path: Path) -> None:
    install("library", "my_library.plain:Plain")
    (tmp_path / "my_library" / "plain.py").write_text(PLAIN)
    plain = registry.get("library")
    world = plain.open(plain.parse(json.dumps(TABLES).encode(), "db.json"))
    assert world.check("is_free", {"book": "B2"})
    assert not world.call(LEND["name"], LEND["arguments"]).error
    assert not world.check("is_free", {"book": "B2"})
    with pytest.raises(ToolError, match="is_free can't take its arguments: "):
        world.check("is_free", {})


@pytest.mark.parametrize("arguments", [{}, {"bok": "B2"}, {"book": "B2", "state": 1}])
def test_an_assertion_with_wrong_arguments_has_failed(
    library: Domain, database: Database, arguments: dict[str, Any]
) -> None:
    wrong = {"func_name": "is_free", "arguments": arguments}
    wanted = task(env_assertions=[wrong], reward_basis=["ENV_ASSERTION"])
    reason = r"is_free (needs the argument 'book'|can't take its arguments: )"
    with pytest.raises(ToolError, match=reason):
        library.open(database).check("is_free", arguments)
    assert verify(library, wanted, library.open(database), []).reward == 0.0


def block(kind: str, number: int) -> str:
    """The n-th code block of that kind in the documentation."""
    return DOCUMENT.read_text().split(f"```{kind}\n")[number].split("```")[0]


def test_the_documentation_shows_what_runs(library: Domain) -> None:
    assert block("python", 1) in own_domain.EXAMPLE.read_text()
    shown = library.parse(block("json", 1).encode(), "db.json")
    assert shown.agent["members"]["M1"] == TABLES["members"]["M1"]
    described = rl.task(json.loads(block("json", 2)))
    world = library.open(library.parse(json.dumps(TABLES).encode(), "db.json"))
    assert verify(library, described, world, []).reward == 0.0
    world.call(LEND["name"], LEND["arguments"])
    assert verify(library, described, world, []).reward == 1.0
    job = yaml.safe_load(block("yaml", 1))["spec"]
    assert TypeAdapter(list[DomainName]).validate_python(job["domains"])[0] == own_domain.NAME
    assert {PodTemplate.model_validate(job[role]["template"]).image for role in NEEDING} == {
        f"registry.example/{role}-library:1" for role in NEEDING
    }
    points = tomllib.loads(block("toml", 1))["project"]["entry-points"]
    assert list(points) == [registry.GROUP]


def test_its_databases_are_generated_by_the_same_command(library: Domain, tmp_path: Path) -> None:
    world = generate_database(library, "small", 1)
    assert generate_database(library, "small", 1) == world
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
        ("library", "my_library.domain:Missing", "doesn't load: AttributeError"),
        ("library", "builtins:dict", "isn't a domain: it has no tools, user_tools"),
        ("books", "my_library.domain:Library", "must have that very name as its `name`"),
    ],
)
def test_a_broken_package_is_refused_with_the_reason(
    install: Install, name: str, value: str, reason: str
) -> None:
    install(name, value)
    with pytest.raises(BrokenDomainError, match=reason):
        registry.get(name)


def test_a_built_in_domain_cannot_be_replaced(install: Install) -> None:
    built_in = registry.get("retail")
    install("retail", "my_library.domain:Library")
    assert type(registry.get("retail")) is type(built_in)
    assert registry.is_built_in(registry.get("retail"))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownDomainError, match=r"no domain 'mars'; use one of airline, "):
        registry.get("mars")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("her-library:library", r"Python package her-library, which is not installed here; inst"),
        ("my-library:libary", r"brings no domain 'libary': its entry points .* are library; use"),
        ("pydantic:library", r"pydantic is installed here, but .* entry points .* are none; use"),
    ],
)
def test_an_unknown_full_name_says_what_is_missing(
    install: Install, name: str, reason: str
) -> None:
    install("library", "my_library.domain:Library")
    with pytest.raises(UnknownDomainError, match=reason) as refused:
        registry.get(name)
    assert str(refused.value).endswith(
        "use one of airline, mock, my-library:library, retail, shop, telecom."
    )


def test_a_bare_name_of_two_packages_needs_the_full_one(install: Install) -> None:
    install("library", "my_library.domain:Library")
    install("library", "my_library.domain:Library", "other")
    with pytest.raises(UnknownDomainError, match="use my-library:library or other:library"):
        registry.get("library")
    mine, other = registry.get("my-library:library"), registry.get("other:library")
    assert mine is not other
    assert registry.full_name(other) == "other:library"


def test_a_package_installed_later_is_found_without_a_restart(install: Install) -> None:
    """A waiting coordinator looks again; it is not restarted for that."""
    with pytest.raises(UnknownDomainError, match="not installed"):
        registry.get(own_domain.NAME)
    install("library", "my_library.domain:Library")
    assert registry.get(own_domain.NAME).name == "library"


@pytest.mark.parametrize("name", ["library", own_domain.NAME])
def test_tasks_are_made_without_a_model(library: Domain, tmp_path: Path, name: str) -> None:
    """By `open_task_generator` next to the domain; all rows pass their own verification."""
    out = tmp_path / "made"
    sizes = ["--count", "40", "--worlds", "2", "--size", "small", "--out", str(out)]
    assert main(["synth", "--domain", name, *sizes]) == 0
    rows = [json.loads(line) for line in (out / "rl.jsonl").read_text().splitlines()]
    assert len(rows) == 40
    assert {row["domain"] for row in rows} == {own_domain.NAME}
    assert {row["provenance"]["goals"][0] for row in rows} == {"borrow", "return"}
    assert main(["data", "check", str(out / "rl.jsonl"), "--databases", str(out)]) == 0


def test_a_broken_task_generator_is_refused_with_the_reason(
    library: Domain, tmp_path: Path
) -> None:
    (tmp_path / "my_library" / "task_generator.py").write_text("import nowhere\n")
    with pytest.raises(
        BrokenDomainError, match=r"my_library\.task_generator doesn't load: ModuleNotFound"
    ):
        task_generators.find(library)


def test_a_packages_domain_with_a_built_in_name_gets_no_built_in_worker(
    install: Install, tmp_path: Path
) -> None:
    install("retail", "my_library.domain:Retail")
    (tmp_path / "my_library" / "task_generator.py").unlink()
    with (tmp_path / "my_library" / "domain.py").open("a") as module:
        module.write("\n\nclass Retail(Library):\n    name = 'retail'\n")
    theirs = registry.get("my-library:retail")
    assert registry.full_name(theirs) == "my-library:retail"
    assert task_generators.find(theirs) is None
    assert task_generators.find(registry.get("retail")) is not None


def says(content: str, *calls: dict[str, Any]) -> Callable[[], web.Response]:
    """A chat completion."""
    made = [
        {
            "id": "x",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
        }
        for call in calls
    ]
    message = {"role": "assistant", "content": content, "tool_calls": made}
    return lambda: web.json_response({"choices": [{"message": message}]})


@pytest.mark.parametrize("row_says", ["library", own_domain.NAME])
@pytest.mark.parametrize("asked", ["library", own_domain.NAME])
async def test_sea_evaluate_plays_it(
    library: Domain, tmp_path: Path, chat_server: Any, asked: str, row_says: str
) -> None:
    """With the scripted user and an endpoint that does the right thing."""
    data = tmp_path / "data"
    data.mkdir()
    scenario = {"instructions": {"domain": row_says, "reason_for_call": "Lend me B2."}}
    row = {
        "id": "1",
        "user_scenario": scenario,
        "evaluation_criteria": json.dumps({"actions": [LEND], "reward_basis": ["DB"]}),
        "db_path": "db.json",
    }
    (data / "rl.jsonl").write_text(json.dumps(row) + "\n")
    (data / "db.json").write_text(json.dumps(TABLES))
    (data / "policy.md").write_text("Lend books.")
    chat_server.answers = [says("Shall I?"), says("", LEND), says("Done.")]
    sources = [service.Source(asked, data)]
    request = service.Request(sources, tmp_path / "out", Address(chat_server.url, "m"), trials=1)
    prepared = service.prepare(request)
    await service.evaluate(request, prepared, lambda *_: None)
    results = service.finish(prepared)["results"]
    assert (results[0]["domain"], results[0]["passHat1"]) == (own_domain.NAME, 100.0)
