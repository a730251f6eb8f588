"""`evaluate`: a request from the command line -> episodes, scores and a page in a folder."""

import asyncio
import hashlib
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import aiohttp

from sea_api import limits
from sea_data.errors import EvaluationError
from sea_data.evaluation import scores
from sea_data.evaluation.playing import tasks, trials
from sea_data.evaluation.playing.agent import Agent, EndpointAgent
from sea_data.evaluation.playing.player import Cast, Player
from sea_data.evaluation.playing.results import ResultStore, open_results
from sea_data.evaluation.records import EpisodeRecord
from sea_data.evaluation.report import Page, render
from sea_env.chat import Address, ChatEndpoint
from sea_env.domains import registry
from sea_env.domains.base import Domain
from sea_env.episodes.conversation import open_environment
from sea_env.episodes.limits import Limits, tau2_protocol
from sea_env.tasks.task import Task
from sea_env.users.base import User, task_user_tools
from sea_env.users.openai_chat import ExternalUser
from sea_env.users.scripted import ScriptedUser
from sea_env.verify.judge import Judge
from sea_env.verify.sandbox.limits import FunctionLimits
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.verdict import Verifier, split_verifiable, without_judge

_NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class Source:
    """Where the tasks of one domain are stored."""

    domain: str
    data: Path
    task_file: Path | None = None
    data_address: str = ""
    """Where `data` was copied from."""


@dataclass(frozen=True)
class Request:
    """One evaluation, as `sea evaluate` reads it from its options."""

    sources: Sequence[Source]
    out: Path
    agent: Address
    user: Address | None = None
    """None plays the scripted user."""
    judge: Address | None = None
    drop_nl_assertions: bool = False
    max_tasks: int | None = None
    """Per domain; None plays all tasks."""
    trials: int = 4
    seed: int = 0
    max_turns: int = limits.MAX_TURNS
    tau2_protocol: bool = False
    """Play by tau2-bench's rules; `max_turns` has no meaning then."""
    concurrency: int = 8
    attempts: int = 3
    episode_timeout_s: float = 1800.0
    native_tools: bool = True
    resume: bool = False
    functions: FunctionLimits | None = None
    """Limits of verification functions; None takes the defaults."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of the agent's requests (top_p, ...)."""


@dataclass(frozen=True)
class Prepared:
    """A request whose tasks, databases and folder have been checked, before any model is asked."""

    folders: Mapping[str, tasks.Folder]
    """By the full name of the domain, as in its tasks."""
    refused: list[str]
    """One sentence per task that can't be scored and is left out."""
    planned: list[trials.Trial]
    store: ResultStore


def prepare(request: Request) -> Prepared:
    """Reads tasks, worlds and folder.

    Raises EvaluationError, RowError, DatabaseError, InitialStateError.
    """
    folders, refused, found = _folders(request.sources), [], []
    for folder in folders.values():
        kept, others = _scorable(request, folder)
        found.append(kept)
        refused += others
    planned = trials.trials(found, request.trials, request.seed, request.max_tasks)
    # Each task is opened once here: one that can't be is found now, not after hours of episodes.
    for task in (trial.task for trial in planned if trial.number == 0):
        folder = folders[task.domain]
        open_environment(folder.domain, folder.world(task).database, task)
    store = open_results(request.out, settings(request, list(chain(*found))), resume=request.resume)
    return Prepared(folders, refused, planned, store)


def _folders(sources: Sequence[Source]) -> dict[str, tasks.Folder]:
    found: dict[str, tasks.Folder] = {}
    for source in sources:
        domain = registry.get(source.domain)
        folder = tasks.Folder(source.data, domain, source.task_file, source.data_address)
        if folder.name in found:
            raise EvaluationError(f"The domain {folder.name} is named twice: name it once.")
        found[folder.name] = folder
    return found


def _scorable(request: Request, folder: tasks.Folder) -> tuple[list[Task], list[str]]:
    """(tasks that can be scored, a sentence on each other); raises EvaluationError if none can."""
    found = folder.tasks()
    if request.drop_nl_assertions:
        found = list(map(without_judge, found))
    kept, refused = split_verifiable(found, judged=request.judge is not None)
    if not kept:
        raise EvaluationError(
            f"None of the {len(found)} tasks of {folder.name} can be scored. {refused[0]}"
        )
    return kept, list(map(str, refused))


def settings(request: Request, found: Sequence[Task]) -> dict[str, Any]:
    """What two runs must share to be one evaluation; endpoints and concurrency may differ."""
    rows = json.dumps([[task.key, dict(task.row)] for task in found], sort_keys=True, default=str)
    user = request.user.model if request.user else "scripted"
    return {
        "model": request.agent.model,
        "domain": ", ".join(source.domain for source in request.sources),
        "user": user,
        "judge": request.judge.model if request.judge else None,
        "tasksSha256": hashlib.sha256(rows.encode()).hexdigest(),
        "trials": request.trials,
        "maxTasks": request.max_tasks,
        "seed": request.seed,
        "temperature": request.agent.temperature,
        "maxTokensPerTurn": request.agent.max_tokens,
        **({"protocol": "tau2"} if request.tau2_protocol else {"maxTurns": request.max_turns}),
        "toolCalls": "native" if request.native_tools else "text",
    }


async def evaluate(request: Request, prepared: Prepared, ended: trials.Ended) -> None:
    """Plays what is missing. Raises EndpointUselessError; a SIGTERM cancels it like Ctrl-C."""
    waiting = trials.missing(prepared.planned, prepared.store.judged())
    with prepared.store as store, _stopped_by_sigterm():
        async with _play(request, prepared.folders) as play:
            await trials.run(waiting, play, store, concurrency=request.concurrency, ended=ended)


def finish(prepared: Prepared, clock: Callable[[], float] = time.time) -> dict[str, Any]:
    """Writes scores and page of what has been played so far; returns the scores."""
    store = prepared.store
    order = {trial.key: number for number, trial in enumerate(prepared.planned)}
    # In the plan's order, whichever episode ended first: the same run writes the same files.
    played = [
        store.done[key] for key in sorted(store.done, key=lambda key: order.get(key, _NO_LIMIT))
    ]
    model, domain = store.settings["model"], store.settings["domain"]
    report = scores.report(domain, played, settings=store.settings, planned=len(prepared.planned))
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(clock()))
    store.write("episodes.jsonl", "".join(record.to_line() for record in played))
    store.write("scores.json", json.dumps(report, indent=2) + "\n")
    store.write("report.html", render(Page(report, played, title=model, made=made)))
    return report


class _stopped_by_sigterm:  # noqa: N801 - reads as what it does
    """Treats SIGTERM like Ctrl-C."""

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


@asynccontextmanager
async def _play(
    request: Request, folders: Mapping[str, tasks.Folder]
) -> AsyncIterator[trials.Play]:
    sandbox = FunctionSandbox(request.functions)
    connector = aiohttp.TCPConnector(limit=0)
    limits = _limits(request)
    try:
        async with aiohttp.ClientSession(connector=connector) as http:
            judge = Judge(ChatEndpoint(http, request.judge)) if request.judge else None
            verifier = Verifier(sandbox, judge)
            players = {
                name: Player(
                    folder.domain,
                    _cast(request, folder.domain, http),
                    verifier,
                    limits,
                    attempts=request.attempts,
                    timeout_s=request.episode_timeout_s,
                )
                for name, folder in folders.items()
            }

            async def play(trial: trials.Trial) -> EpisodeRecord:
                name = trial.task.domain
                return await players[name].play(trial, folders[name].world(trial.task))

            yield play
    finally:
        await sandbox.close()


def _limits(request: Request) -> Limits:
    if request.tau2_protocol:
        return tau2_protocol(request.agent.max_tokens, _NO_LIMIT)
    return Limits(request.max_turns, request.agent.max_tokens, _NO_LIMIT)


def _cast(request: Request, domain: Domain, http: aiohttp.ClientSession) -> Cast:
    schemas = [tool.schema() for tool in domain.tools]
    endpoint = ChatEndpoint(http, request.agent)

    def agent(trial: trials.Trial, world: tasks.World) -> Agent:
        system = domain.system_prompt(world.policy)
        # vLLM strips special tokens from text, and with them the tags of calls.
        plain = {} if request.native_tools else {"skip_special_tokens": False}
        return EndpointAgent(
            endpoint,
            system,
            schemas,
            native=request.native_tools,
            **{"seed": trial.seed, **plain, **request.extra},
        )

    def user(trial: trials.Trial) -> User:
        scenario, own = dict(trial.task.scenario), task_user_tools(domain, trial.task)
        if request.user is None:
            return ScriptedUser(scenario, trial.seed, own)
        return ExternalUser(scenario, ChatEndpoint(http, request.user), own)

    return Cast(agent, user)


def passed_share(records: Sequence[EpisodeRecord]) -> float | None:
    """Share of the episodes with a verdict that passed, for the progress line."""
    judged = [record.passed for record in records if record.passed is not None]
    return sum(judged) / len(judged) if judged else None
