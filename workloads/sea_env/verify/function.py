"""FUNCTION part: the row's own verification function, run in the sandbox.

docs/writing-verifiers.md describes what the function sees; `sandbox.inside.episode` builds it.
"""

from collections.abc import Sequence
from typing import Any

from sea_env.domains.base import Domain, Environment
from sea_env.domains.database import Database
from sea_env.tasks.task import Task
from sea_env.tokens.messages import Message
from sea_env.verify.checks import end_state, expected_end_state
from sea_env.verify.sandbox.pool import FunctionSandbox, Judged

FIELD = "verification_function"
"""Field of an `rl` row."""
_BASE = "file layout"


async def judged_by_function(
    sandbox: FunctionSandbox,
    domain: Domain,
    task: Task,
    environment: Environment,
    transcript: Sequence[Message],
    stop: str,
) -> Judged:
    """The function's reward. Raises SandboxError if it could not be run."""
    finished = finished_episode(domain, task, environment, transcript, stop)
    return await judged_episode(sandbox, task.verification_function, finished, environment)


async def judged_episode(
    sandbox: FunctionSandbox, source: str, finished: dict[str, Any], environment: Environment
) -> Judged:
    """What `source` says about a `finished_episode` of the environment. Raises SandboxError."""
    return await sandbox.run(source, finished, _base(environment))


def _base(environment: Environment) -> Database:
    """Both bases in the layout of their files, built once for all episodes on them."""
    memo = environment.database.memo
    known: Database | None = memo.get(_BASE)
    if known is None:
        # The same object each time: the sandbox knows a database by its identity (`pool._key`).
        known = memo[_BASE] = Database(environment.base("assistant"), environment.base("user"))
    return known


def finished_episode(
    domain: Domain,
    task: Task,
    environment: Environment,
    transcript: Sequence[Message],
    stop: str,
) -> dict[str, Any]:
    """The episode as JSON, without the base tables that the sandbox keeps."""
    agent, user = end_state(environment)
    wanted_agent, wanted_user = expected_end_state(domain, task, environment.database)
    return {
        "messages": [dict(message) for message in transcript],
        "stop": str(stop),
        # Without the function's own source, which it has no use for.
        "task": {name: value for name, value in task.row.items() if name != FIELD},
        "agent_changes": agent,
        "user_changes": user,
        "expected_agent_changes": wanted_agent,
        "expected_user_changes": wanted_user,
    }
