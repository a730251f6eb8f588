"""`sea data replay`: what each task's expected actions do."""

import argparse
import json
from typing import Any

from sea_cli import fetching
from sea_cli.common import Commands, command, say
from sea_data.formats import tau2
from sea_data.formats.inspection import replay
from sea_env.domains import registry


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "replay",
        "run every task's expected actions on a fresh database",
        "sea data replay --domain retail --data ../tau2/retail --json",
    )
    parser.add_argument("--domain", required=True, help=", ".join(registry.names()))
    parser.add_argument(
        "--data", required=True, help=f"{fetching.FOLDER}, with db.* and tasks.json"
    )
    parser.add_argument("--json", action="store_true", help="print everything as one JSON list")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    domain = registry.get(given.domain)
    with fetching.folder(given.data) as data:
        database = tau2.database(data, domain)
        results = [replay(domain, task, database) for task in tau2.tasks(data, domain.name)]
    if given.json:
        say(json.dumps(results, indent=1))
        return 0
    for result in results:
        say(_summary(result))
    errors = sum(call["error"] for result in results for call in result["gold_calls"])
    say(f"{len(results)} tasks, {errors} expected calls that err")
    return 0


def _summary(result: dict[str, Any]) -> str:
    calls, changes = result["gold_calls"], result["agent_db_changes"] + result["user_db_changes"]
    errors = sum(call["error"] for call in calls)
    outcome = "".join("+" if ok else "-" for ok in result["env_assertions"])
    return (
        f"{result['task_id']:<40}{len(calls):>3} calls {errors:>2} errors "
        f"{len(changes):>3} changes {outcome}"
    ).rstrip()
