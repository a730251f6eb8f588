"""The verification worker: cases that execution has judged, functions that fail them."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from sea_data.formats import rl
from sea_data.synthesis.agents import function_worker
from sea_data.synthesis.agents.function_worker import (
    FunctionRunner,
    NoFunctionError,
    function_cases,
)
from sea_data.synthesis.agents.model_client import ModelClient, TokenMeter
from sea_data.synthesis.plan import Plan, Style, TaskFaultError, ToolMode
from sea_data.synthesis.procedural.task_generators import open_task_generator
from sea_data.synthesis.source_database import SourceDatabase
from sea_env.chat import Address, ChatEndpoint
from sea_env.tasks.task import Task
from sea_env.verify.sandbox.limits import FunctionLimits
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_testing.played import FUNCTION, LENIENT

SourcesOf = Callable[[str], list[SourceDatabase]]
GOALS = {"retail": "cancel", "telecom": "airplane_mode"}


@pytest.fixture
async def sandbox() -> AsyncIterator[FunctionSandbox]:
    """With the shortest of all limits: one of the functions loops."""
    sandbox = FunctionSandbox(FunctionLimits(cpu_s=1), processes=1)
    yield sandbox
    await sandbox.close()


def task_of(source: SourceDatabase, **changes: Any) -> Task:
    """A generated task, some of its parts replaced."""
    name = source.domain.name
    plan = Plan("p", name, (GOALS[name],), ToolMode.GIVEN, Style.TERSE)
    generator = open_task_generator(source.domain, source.database)
    given = replace(generator.generate(plan, random.Random(1)), **changes)
    return rl.task(given.task_row(f"{name}_1", source.db_path))


def what(found: Sequence[Any]) -> list[str]:
    return [case.what for case in found]


def test_cases_of_a_task_that_changes_a_database(sources_of: SourcesOf) -> None:
    found = function_cases(
        sources_of("retail")[0], task_of(sources_of("retail")[0], communicate=["$12.50"])
    )
    assert [case.good for case in found] == [True] + [False] * (len(found) - 1)
    said = " | ".join(what(found))
    assert "did and said nothing" in said
    assert "all was done but the expected action" in said
    assert "cancel_pending_order" in said
    assert "nothing was told to the customer" in said
    assert "was changed too, which nobody asked for" in said
    # Leaving out an action that only reads makes no difference, so it is no case.
    assert "get_order_details" not in said


def test_cases_of_a_task_that_is_judged_by_assertions(sources_of: SourcesOf) -> None:
    found = function_cases(sources_of("telecom")[0], task_of(sources_of("telecom")[0]))
    said = " | ".join(what(found))
    assert "did and said nothing" in said
    assert "toggle_airplane_mode" in said
    assert "nobody asked for" not in said, "there are several ways to the same end"


@pytest.mark.parametrize(
    ("domain", "changes", "said"),
    [
        ("telecom", {"actions": ()}, "don't earn the task's own reward"),
        ("telecom", {"initial_state": None, "actions": ()}, "without doing anything"),
        ("retail", {"basis": ("COMMUNICATE",), "actions": ()}, "without doing anything"),
    ],
)
def test_tasks_without_a_difference_are_the_tasks_fault(
    sources_of: SourcesOf, domain: str, changes: dict[str, Any], said: str
) -> None:
    found = sources_of(domain)[0]
    with pytest.raises(TaskFaultError, match=said):
        function_cases(found, task_of(found, **changes))


ALWAYS_NO = "def verify(episode):\n    return False"
HANGS = "def verify(episode):\n    while True:\n        pass"
OPENS = "def verify(episode):\n    return len(open('/etc/passwd').read()) > 0"


@pytest.mark.component
@pytest.mark.parametrize(
    ("source", "said"),
    [
        (LENIENT, r"did and said nothing, the function must give 0, but gives 1: whatever"),
        (ALWAYS_NO, r"everything as expected, the function must give 1, but gives 0"),
        ("def verify(episode):\n    return 0.5", "must give 1, but gives 0.5"),
        ("def verify(episode):\n    return episode['orders']", "KeyError"),
        (HANGS, "CPU|time"),
        (OPENS, "must give 1, but gives 0: The verification function failed"),
        ("def verify(episode) return 1", "isn't valid Python"),
        ("def check(episode):\n    return 1", "no code block that defines verify"),
    ],
)
async def test_a_function_that_does_not_hold_is_refused_with_the_reason(
    sources_of: SourcesOf, sandbox: FunctionSandbox, chat_server: Any, source: str, said: str
) -> None:
    """The model gets the reason each time; after three tries it is the task's fault."""
    found = sources_of("retail")[0]
    task = task_of(found)
    chat_server.default = chat_server.message(f"```python\n{source}\n```")
    with pytest.raises(NoFunctionError, match=said):
        await write(chat_server.url, sandbox, found, task)
    assert len(chat_server.asked) == 3
    complaint = chat_server.asked[-1]["messages"][-1]
    assert complaint["role"] == "user"
    assert complaint["content"].endswith("Correct it: one code block.")


@pytest.mark.component
async def test_a_corrected_function_is_taken(
    sources_of: SourcesOf, sandbox: FunctionSandbox, chat_server: Any
) -> None:
    found = sources_of("telecom")[0]
    chat_server.answers = [chat_server.message(f"```python\n{LENIENT}```")]
    chat_server.default = chat_server.message(f"<think>Hm.</think>Now:\n```py\n{FUNCTION}\n```\n")
    assert await write(chat_server.url, sandbox, found, task_of(found)) == FUNCTION
    assert "must give 0, but gives 1" in chat_server.asked[1]["messages"][-1]["content"]


async def write(url: str, sandbox: FunctionSandbox, source: SourceDatabase, task: Task) -> str:
    async with aiohttp.ClientSession() as session:
        endpoint = ModelClient(ChatEndpoint(session, Address(url, "m", first_pause_s=0.001)))
        return await function_worker.write(
            endpoint, FunctionRunner(sandbox), task, function_cases(source, task), 0, TokenMeter()
        )
