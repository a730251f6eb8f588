"""The verification worker: writes one task's `verify(episode)`, tried in the sandbox until right.

It is shown what the expected actions changed, and told what the sandbox found wrong. A function
that never holds is the task's fault, and the trial that it failed is what reflection reads.
"""

import json
import re
from collections.abc import Sequence

from sea_data.formats import rl
from sea_data.formats.errors import RowError
from sea_data.synthesis.agents.asking import TRIES, Messages
from sea_data.synthesis.agents.bench import Bench
from sea_data.synthesis.agents.endpoint import Endpoint, Meter
from sea_data.synthesis.agents.trials import Trial
from sea_data.synthesis.outcome import shortened
from sea_env.tasks.task import Task
from sea_env.verify.function import FIELD

VERIFIER = "You are the verification worker of a data synthesis team."
_CONTRACT = """\
Write Python source that defines verify(episode). It returns (1, reason) where the agent settled the
task and (0, reason) where it didn't; the reason is a short sentence. `episode` is plain data:
- agent_database, user_database: tables at the end, as {table: {key: record}} or lists of records
- agent_changes, user_changes: what the episode changed: {"path": JSON pointer, "value": new} or
  {"path": ..., "removed": true}, sorted by path
- expected_agent_changes, expected_user_changes: the same for the task's expected actions
- messages: role (user, assistant, tool), content, tool_calls [{"name", "arguments"}]
- task: the task; stop: how the dialogue ended
Judge the end state and what the agent told the customer, not the way there: another agent may look
up other things and use other words. Unless assertions decide, nothing else may have changed. Import
nothing but the standard library's pure parts (json, re, datetime, decimal, math, ...); there are no
files, no network, no clock, and 2 s of processor time. Answer with one Python code block only."""
_LONGEST = 20_000
"""Characters of the changes and of a reply that are shown."""
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)


class NoFunctionError(Exception):
    """No function held in all tries: the task's fault."""


async def write(
    endpoint: Endpoint, bench: Bench, task: Task, trials: Sequence[Trial], seed: int, meter: Meter
) -> str:
    """Source that gives every trial what it must have; `trials` begin with the good one.

    Raises:
        NoFunctionError: the trials that the last function failed.
        CrewUnavailableError: no reply, or no sandbox.
    """
    messages = _opening(task, trials[0])
    problem = ""
    for attempt in range(TRIES):
        text = await endpoint.ask(messages, meter, temperature=0.5, seed=seed + attempt)
        messages.append({"role": "assistant", "content": text[:_LONGEST]})
        try:
            source = read(text, task)
            problem = await _problem(bench, source, trials)
        except ValueError as error:
            problem = str(error)
        else:
            if not problem:
                return source
        messages.append({"role": "user", "content": f"{problem} Correct it: one code block."})
    raise NoFunctionError(f"No verification function held in {TRIES} tries: {shortened(problem)}")


def read(text: str, task: Task) -> str:
    """The source in a reply; ValueError with a sentence where none is fit for a row."""
    body = text.rpartition("</think>")[2]
    blocks = [block for block in _FENCED.findall(body) if "def verify" in block]
    source = blocks[-1] if blocks else body
    if "def verify" not in source:
        raise ValueError("The answer holds no code block that defines verify(episode).")
    try:
        rl.task({**task.row, FIELD: source}, task.domain)
    except RowError as error:
        raise ValueError(f"The function can't be used: {error}.") from error
    return source.strip() + "\n"


async def _problem(bench: Bench, source: str, trials: Sequence[Trial]) -> str:
    """What the function judges wrongly; empty where it holds."""
    for trial in trials:
        judged = await bench.run(source, trial.episode, trial.environment)
        wanted = 1.0 if trial.good else 0.0
        if judged.failed or judged.reward != wanted:
            return (
                f"Where {trial.what}, the function must give {wanted:g}, but gives "
                f"{judged.reward:g}: {shortened(judged.reason)}"
            )
    return ""


def _opening(task: Task, good: Trial) -> Messages:
    shown = {
        "customer": task.scenario,
        "must be said by the agent": list(task.criteria.communicate_info),
        "expected_agent_changes": good.episode["expected_agent_changes"],
        "expected_user_changes": good.episode["expected_user_changes"],
        "assertions that decide": [
            {"function": one.func_name, "arguments": one.arguments, "expected": one.assert_value}
            for one in task.criteria.env_assertions
        ],
    }
    content = f"The task:\n{json.dumps(shown, default=str)[:_LONGEST]}"
    return [
        {"role": "system", "content": f"{VERIFIER} {_CONTRACT}"},
        {"role": "user", "content": content},
    ]
