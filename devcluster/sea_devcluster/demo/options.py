"""The demo's command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Options:
    """The parsed command line."""

    job: Path
    data: Path | None
    """Data folder to upload; the demo makes one if None."""
    cluster: str
    name: str
    out: Path
    down: bool
    plain: bool
    limit_minutes: float


def parse(arguments: list[str] | None = None) -> Options:
    """Parses the command line; exits with usage on a mistake."""
    parser = argparse.ArgumentParser(
        prog="make demo",
        description="Trains a tool-using agent from one SEATrainingJob and shows it live.",
    )
    parser.add_argument(
        "--job",
        type=Path,
        default=ROOT / "examples" / "tiny.yaml",
        help="SEATrainingJob to apply (default: examples/tiny.yaml)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="data folder to upload; by default tasks of the shop are generated",
    )
    parser.add_argument(
        "--cluster",
        choices=["devcluster", "kubeconfig"],
        default="devcluster",
        help="devcluster starts a control plane here; kubeconfig uses your current context",
    )
    parser.add_argument("--name", default="demo", help="name of the devcluster")
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "out" / "demo",
        help="folder for results (default: out/demo)",
    )
    parser.add_argument("--down", action="store_true", help="stop the devcluster at the end")
    parser.add_argument("--plain", action="store_true", help="lines instead of a live view")
    parser.add_argument(
        "--limit-minutes",
        type=float,
        default=60.0,
        help="give up after this many minutes (default: 60)",
    )
    options = Options(**vars(parser.parse_args(arguments)))
    if not 0 < options.limit_minutes < float("inf"):
        parser.error(f"--limit-minutes {options.limit_minutes:g} is no time to wait; give minutes.")
    for given in (options.job, options.data):
        if given is not None and not given.exists():
            parser.error(f"{given} doesn't exist.")
    return options
