"""`sea play`: be the agent or the user of a task, in the terminal."""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import aiohttp
from rich.console import Console

from sea_api.contract import OPENAI_API_KEY, Env
from sea_cli import fetching, options, show
from sea_cli.common import Commands, say
from sea_data.errors import EvaluationError
from sea_data.evaluation.playing import scripted, tasks, terminal
from sea_data.evaluation.playing.agent import Agent, EndpointAgent
from sea_data.evaluation.playing.player import talk
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.domains.base import Domain
from sea_env.endpoint_errors import EndpointError
from sea_env.episodes.conversation import open_conversation
from sea_env.episodes.limits import Limits
from sea_env.tasks.task import Task
from sea_env.users.base import User, UserUnavailableError, task_user_tools
from sea_env.users.openai_chat import ExternalUser
from sea_env.users.scripted import ScriptedUser
from sea_env.verify.checks import end_state, expected_end_state
from sea_env.verify.sandbox.limits import FunctionLimits
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.verdict import Verifier, needs_judge, without_judge

_EXAMPLES = """\
examples:
  sea play shop 1 --data data/shop                         be the agent of the first task
  sea play retail 12 --data ../tau2/retail --as user       be the user; the agent follows the task
  sea play retail 12 --data ../tau2/retail --as user --endpoint http://localhost:8000/v1 \\
      --model qwen3                                        ... and the agent is a model

exit codes: 0 the task is solved, 1 it is not (or something can't be read), 2 wrong usage,
130 interrupted.
"""
_LIMITS = Limits(max_turns=200, max_tokens_per_turn=1, context_length=1)


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "play",
        help="be the agent or the user of a task",
        description="Plays one task in the terminal, with the verdict at the end. The other side "
        "is a script, or a model behind an endpoint.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("domain", metavar="DOMAIN", help=", ".join(registry.names()))
    parser.add_argument("task", metavar="TASK", help="its id, or its number in the file from 1")
    parser.add_argument("--data", required=True, metavar="DIR", help=f"data: {fetching.FOLDER}")
    parser.add_argument(
        "--tasks",
        metavar="FILE",
        help="task file (path or s3:// address), by default found in --data",
    )
    parser.add_argument(
        "--as",
        dest="side",
        choices=["agent", "user"],
        default="agent",
        help="which side you are (default agent)",
    )
    parser.add_argument("--seed", type=int, default=0, help="for a scripted user (default 0)")
    options.add_endpoint(parser, "", OPENAI_API_KEY, "the agent")
    options.add_endpoint(parser, "user", Env.USER_API_KEY, "the user")
    options.add_function_limits(parser)
    parser.set_defaults(run=run, parser=parser)


def run(given: argparse.Namespace) -> int:
    try:
        agent = options.address(given, "")
        user = options.address(given, "user")
    except argparse.ArgumentTypeError as error:
        given.parser.error(str(error))
    domain = registry.get(given.domain)
    with ExitStack() as copies:
        data = copies.enter_context(fetching.folder(given.data))
        file = copies.enter_context(fetching.file(given.tasks)) if given.tasks else None
        folder = tasks.Folder(data, domain, file, given.data)
        task = find(folder.tasks(), given.task)
        world = folder.world(task)
    if needs_judge(task):
        say("The assertions in natural language take a judge; the verdict leaves them out.")
        task = without_judge(task)
    limits = options.function_limits(given)
    table = Table(domain, task, world, given.side, given.seed, limits=limits)
    try:
        with _ctrl_c_leaves():
            return asyncio.run(table.play(agent, user))
    except (EndpointError, UserUnavailableError) as error:
        raise EvaluationError(str(error)) from error
    except terminal.LeftError:
        say("\nYou left; there is no verdict.")
        return 1


def find(found: list[Task], name: str) -> Task:
    """The task with this id, else of this number from 1. Raises EvaluationError."""
    for task in found:
        if task.id == name:
            return task
    if name.isdecimal() and 1 <= int(name) <= len(found):
        return found[int(name) - 1]
    raise EvaluationError(
        f"There is no task {name!r}: give an id (such as {found[0].id}) or a number from 1 to "
        f"{len(found)}."
    )


def _met(value: float) -> str:
    return {0.0: "not met", 1.0: "ok"}.get(value, f"{value:g}")


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


class Table:
    """One dialogue between a person and the other side."""

    def __init__(
        self,
        domain: Domain,
        task: Task,
        world: tasks.World,
        side: str,
        seed: int,
        read: Callable[[str], str] = input,
        limits: FunctionLimits | None = None,
    ) -> None:
        self._domain, self._task, self._world, self._side = domain, task, world, side
        self._seed, self._read, self._limits = seed, read, limits
        self._console = Console(highlight=False)
        self._conversation = open_conversation(domain, world.database, task, _LIMITS)
        self._shown = 0

    async def play(self, agent: Address | None, user: Address | None) -> int:
        """The exit code. Raises LeftError and what endpoints raise."""
        self._greet()
        async with aiohttp.ClientSession() as http, _verifier(self._limits) as verifier:
            stop = await talk(self._conversation, self._agent(http, agent), self._user(http, user))
            self._show()
            verdict = await verifier.verify(
                self._domain,
                self._task,
                self._conversation.environment,
                self._conversation.messages,
                stop,
            )
        say(f"\nended by {stop}; reward {verdict.reward:g}")
        for name, value in verdict.parts.items():
            say(f"  {name:<14}{_met(value)}{_because(verdict.reasons.get(name, ''))}")
        if verdict.parts.get("DB") == 0.0:
            self._compare()
        return 0 if verdict.reward == 1.0 else 1

    def _greet(self) -> None:
        person = terminal.HandAgent if self._side == "agent" else terminal.HandUser
        say(f"{self._domain.name} {self._task.id}: you are the {self._side}. /help lists commands.")
        say(person.help)
        if self._side == "user":
            terminal.write_scenario(self._task, say)
        say()

    def _agent(self, http: aiohttp.ClientSession, address: Address | None) -> Agent:
        system = self._domain.system_prompt(self._world.policy)
        if self._side == "agent":
            policy = self._world.policy or system
            return terminal.HandAgent(self._domain, self._task, policy, self._read, say, self._show)
        if address is None:
            return scripted.scripted(self._domain, self._task)
        schemas = [tool.schema() for tool in self._domain.tools]
        return EndpointAgent(ChatEndpoint(http, address), system, schemas)

    def _user(self, http: aiohttp.ClientSession, address: Address | None) -> User:
        own = task_user_tools(self._domain, self._task)
        if self._side == "user":
            return terminal.HandUser(self._task, own, self._read, say, self._show)
        scenario = dict(self._task.scenario)
        if address is None:
            return ScriptedUser(scenario, self._seed, own)
        return ExternalUser(scenario, ChatEndpoint(http, address), own)

    def _show(self) -> None:
        """What is new in the dialogue, the person's own words left out."""
        new = self._conversation.messages[self._shown :]
        self._shown = len(self._conversation.messages)
        own = "assistant" if self._side == "agent" else "user"
        if new and new[0]["role"] == own and not new[0].get("tool_calls"):
            new = new[1:]
        show.dialogue(self._console, new)

    def _compare(self) -> None:
        """Where the databases differ from what the task expects."""
        environment = self._conversation.environment
        made, wanted = (
            [str(change) for side in state for change in side]
            for state in (
                end_state(environment),
                expected_end_state(self._domain, self._task, environment.database),
            )
        )
        for change in wanted:
            if change not in made:
                say(f"  expected   {change}")
        for change in made:
            if change not in wanted:
                say(f"  unexpected {change}")


@contextlib.contextmanager
def _ctrl_c_leaves() -> Iterator[None]:
    """asyncio would only cancel the task, which a read from the terminal doesn't notice."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


@contextlib.asynccontextmanager
async def _verifier(limits: FunctionLimits | None) -> AsyncIterator[Verifier]:
    sandbox = FunctionSandbox(limits)
    try:
        yield Verifier(sandbox)
    finally:
        await sandbox.close()
