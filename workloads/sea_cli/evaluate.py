"""`sea evaluate`: pass^k of any OpenAI-compatible server on a domain's tasks."""

import argparse
import asyncio
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from sea_api import limits
from sea_api.contract import OPENAI_API_KEY, Env
from sea_cli import evaluate_output, fetching, options, progress
from sea_cli.common import Commands, again, local, say
from sea_cli.options import positive, seconds, temperature
from sea_data.errors import EvaluationError
from sea_data.evaluation.playing import service
from sea_data.evaluation.playing.service import Prepared, Request, Source
from sea_data.evaluation.records import EpisodeRecord
from sea_env.domains import registry

_EXAMPLES = """\
examples:
  sea evaluate --endpoint http://localhost:8000/v1 --model qwen3 --domain shop \\
      --data data/shop --trials 4 --out out/qwen3-shop
  sea evaluate --endpoint http://localhost:8000/v1 --model qwen3 --domain retail \\
      --data ../tau2/retail --drop-nl-assertions --user-endpoint http://localhost:9000/v1 \\
      --user-model gpt-4.1 --concurrency 32 --out out/qwen3-retail
  sea evaluate --endpoint http://localhost:8000/v1 --model qwen3 \\
      --domain airline retail --data data/airline-syn data/retail-syn --out out/qwen3-both
  sea evaluate ...the same... --resume      play what is missing or had no verdict

exit codes: 0 every episode has a verdict, 1 something can't be read or the endpoint is unusable,
2 wrong usage, 3 finished, but episodes are without a verdict, 130 interrupted; --resume continues.
"""
INTERRUPTED = 130
WITHOUT_VERDICT = 3


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure pass^k of a model behind an endpoint",
        description="Plays every task of one or several domains several times against a model "
        "behind an OpenAI-compatible endpoint (chat completions with tools) and reports pass^k by "
        "domain and on average. Needs no Kubernetes. Time-outs, 5xx and nonsense answers "
        "are tried again and never count as a failure of the agent.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _who(parser)
    _what(parser)
    _how(parser)
    parser.set_defaults(run=run, parser=parser)


def _who(parser: argparse.ArgumentParser) -> None:
    options.add_endpoint(parser, "", OPENAI_API_KEY, "the agent")
    parser.add_argument("--user", choices=["scripted"], help="a user without a model (default)")
    options.add_endpoint(parser, "user", Env.USER_API_KEY, "the simulated user")
    options.add_endpoint(parser, "judge", Env.JUDGE_API_KEY, "the judge of NL assertions")
    parser.add_argument(
        "--temperature", type=temperature, default=1.0, help="the agent's (default 1)"
    )
    parser.add_argument(
        "--max-tokens",
        type=positive,
        default=limits.MAX_TOKENS_PER_TURN,
        help="most tokens of one agent turn (default %(default)s)",
    )
    parser.add_argument(
        "--tool-calls",
        choices=["native", "text"],
        default="native",
        help="native: the server's tools and tool_calls; text: <tool_call> tags in the text, for "
        "servers without a tool parser (default native)",
    )


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--domain",
        required=True,
        nargs="+",
        metavar="NAME",
        help=f"one or several of {', '.join(registry.names())}",
    )
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="DIR",
        help=f"data: {fetching.FOLDER}; one for all domains (one folder per domain in it, or rows "
        "that name theirs), or one each, in their order",
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        metavar="FILE",
        help="task file (path or s3:// address), by default found in --data; one for all domains, "
        "or one each",
    )
    parser.add_argument(
        "--max-tasks", type=positive, metavar="N", help="a seeded choice of each domain's tasks"
    )
    parser.add_argument("--trials", type=positive, default=4, help="episodes per task (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="for sampling and users (default 0)")
    parser.add_argument(
        "--drop-nl-assertions",
        action="store_true",
        help="score without what only a judge can check; otherwise such tasks are left out unless "
        "--judge-endpoint is given",
    )


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=local, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--resume", action="store_true", help="continue what --out holds")
    parser.add_argument(
        "--concurrency", type=positive, default=8, help="episodes at a time (default 8)"
    )
    parser.add_argument(
        "--max-turns", type=positive, help=f"agent turns (default {limits.MAX_TURNS})"
    )
    parser.add_argument(
        "--protocol",
        choices=["sea", "tau2"],
        default="sea",
        help="tau2: end episodes by tau2-bench's rules (200 steps, 10 errors, nothing else) and "
        "begin the agent's context with its greeting",
    )
    options.add_request_limits(parser, retries=5)
    parser.add_argument(
        "--attempts",
        type=positive,
        default=3,
        help="attempts per episode if its endpoint fails (default 3)",
    )
    parser.add_argument(
        "--episode-timeout",
        type=seconds,
        default=1800.0,
        metavar="S",
        help="time-out of one attempt of an episode (default 1800)",
    )
    options.add_function_limits(parser)


def run(given: argparse.Namespace) -> int:
    request = _request(given)
    places = _each(given, "data"), _each(given, "tasks")
    with ExitStack() as copies:

        @cache
        def folder(address: str) -> Path:
            return copies.enter_context(fetching.folder(address))

        @cache
        def file(address: str) -> Path:
            return copies.enter_context(fetching.file(address))

        sources = [
            Source(domain, folder(data), file(tasks) if tasks else None, data)
            for domain, data, tasks in zip(given.domain, *places, strict=True)
        ]
        return _evaluate(replace(request, sources=sources))


def _each(given: argparse.Namespace, option: str) -> list[str]:
    """What was given for every domain; empty texts where nothing was."""
    values, domains = getattr(given, option) or [""], len(given.domain)
    if len(values) == 1:
        return list(values) * domains
    if len(values) != domains:
        _usage(
            given,
            f"--{option} names {len(values)} places for {domains} domains: give one for all, or "
            "one each in the order of --domain",
        )
    return list(values)


def _evaluate(request: Request) -> int:
    prepared = service.prepare(request)
    if prepared.refused:
        say(f"{len(prepared.refused)} tasks left out, the first because: {prepared.refused[0]}")
    problem = _play(request, prepared)
    if not prepared.store.done:
        sys.stderr.write(f"sea: {problem or 'no episode was played'}\n")
        return INTERRUPTED if problem is _INTERRUPTED else 1
    report = service.finish(prepared)
    evaluate_output.show(report, request.out)
    return _ending(problem, report, request, prepared)


_INTERRUPTED = "interrupted"


def _play(request: Request, prepared: Prepared) -> str:
    """Plays to the end; otherwise what stopped it."""
    judged = prepared.store.judged()
    played = list(prepared.store.done.values())
    with progress.bar("episodes", len(prepared.planned), len(judged)) as advance:

        def ended(record: EpisodeRecord) -> None:
            played.append(record)
            advance(_note(played))

        try:
            asyncio.run(service.evaluate(request, prepared, ended))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return _INTERRUPTED
        except EvaluationError as error:
            return str(error)
    return ""


def _note(played: list[EpisodeRecord]) -> str:
    share = service.passed_share(played)
    broken = sum(record.reward is None for record in played)
    said = "no verdict yet" if share is None else f"{100 * share:.1f}% passed"
    return f"{said}, {broken} without verdict" if broken else said


def _ending(problem: str, report: dict[str, Any], request: Request, prepared: Prepared) -> int:
    missing = len(prepared.planned) - len(prepared.store.judged())
    if not missing:
        return 0
    said = f"{problem.rstrip('.')}. " if problem and problem != _INTERRUPTED else ""
    head = "interrupted: " if problem == _INTERRUPTED else ""
    why = evaluate_output.reasons(list(prepared.store.done.values()), len(prepared.planned))
    sys.stderr.write(
        f"sea: {head}{said}{missing} of {len(prepared.planned)} episodes have no verdict yet: {why}"
        f" Go on with: {again()}\n"
    )
    if problem == _INTERRUPTED:
        return INTERRUPTED
    return 1 if problem else WITHOUT_VERDICT


def _usage(given: argparse.Namespace, message: str) -> NoReturn:
    given.parser.error(message)
    raise AssertionError("argparse exits")


def _request(given: argparse.Namespace) -> Request:
    """Everything but the sources of the tasks."""
    shared = {"timeout_s": given.timeout, "attempts": given.retries}
    try:
        agent = options.address(
            given, "", temperature=given.temperature, max_tokens=given.max_tokens, **shared
        )
        user = options.address(given, "user", **shared)
        judge = options.address(given, "judge", **shared)
    except argparse.ArgumentTypeError as error:
        _usage(given, str(error))
    if agent is None:
        _usage(given, "--endpoint and --model say which model to evaluate")
    if given.protocol == "tau2" and given.max_turns:
        _usage(given, "--protocol tau2 ends episodes by steps and errors: leave out --max-turns")
    if user is not None and given.user:
        _usage(given, "--user scripted and --user-endpoint exclude each other")
    return Request(
        sources=(),
        out=given.out,
        agent=agent,
        user=user,
        judge=judge,
        drop_nl_assertions=given.drop_nl_assertions,
        max_tasks=given.max_tasks,
        trials=given.trials,
        seed=given.seed,
        max_turns=given.max_turns or limits.MAX_TURNS,
        tau2_protocol=given.protocol == "tau2",
        concurrency=given.concurrency,
        attempts=given.attempts,
        episode_timeout_s=given.episode_timeout,
        native_tools=given.tool_calls == "native",
        resume=given.resume,
        functions=options.function_limits(given),
    )
