"""The end of the demo: the table of scores, where everything lies, what to try next."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.table import Table

from sea_devcluster.demo.report import Score
from sea_devcluster.demo.target import Target

LABELS = {"eval-sft": "after SFT", "eval-rl": "after RL"}


def show(
    console: Console,
    scores: Sequence[Score],
    target: Target,
    places: dict[str, str],
    job: str,
    namespace: str,
) -> None:
    """Prints table, places and next commands."""
    console.print(table(scores))
    if len(scores) > 1:
        gain = scores[-1].pass1 - scores[0].pass1
        console.print(f"Reinforcement learning changed held-back pass^1 by {gain:+.1f} points.\n")
    for label, place in places.items():
        console.print(f"{label:<16} {place}", highlight=False, soft_wrap=True)
    console.print("\nTry next:")
    for command in commands(target, job, namespace):
        console.print(f"  {command}", highlight=False, soft_wrap=True)


def table(scores: Sequence[Score]) -> Table:
    result = Table(title="Evaluation")
    for column in ("model", "pass^1", "± (1 s.e.)", "episodes", "tasks"):
        result.add_column(column, justify="left" if column == "model" else "right")
    for score in scores:
        result.add_row(
            LABELS.get(score.stage, score.stage),
            f"{score.pass1:.1f} %",
            f"{score.standard_error:.1f}",
            str(score.episodes),
            str(score.tasks),
        )
    return result


def commands(target: Target, job: str, namespace: str) -> list[str]:
    """What a user would type now."""
    environment = []
    if target.kubeconfig:
        environment = [
            f"export KUBECONFIG={quote(str(target.kubeconfig))}",
            f"export PATH={quote(str(Path(target.kubectl).parent))}:$PATH",
        ]
    return [
        *environment,
        f"kubectl -n {namespace} get seatrainingjobs -o wide",
        f"kubectl -n {namespace} get seajob {job} -o yaml",
        f"kubectl -n {namespace} get events --sort-by=.lastTimestamp",
        "kubectl -n sea-system logs deploy/sea-operator --tail 20",
        *([target.down_command] if target.down_command else []),
    ]
