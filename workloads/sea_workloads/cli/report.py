"""`sea report`: the page of an evaluation, made again from its episodes."""

import argparse
import time
from pathlib import Path

from sea_workloads.cli.common import Commands, say
from sea_workloads.evaluation.report import render, source

_EXAMPLES = """\
examples:
  sea report out/qwen3-shop --out report.html
  sea report run/evaluation/eval-rl.episodes.jsonl --out eval-rl.html
  sea report run --stage eval-rl --out eval-rl.html    run: a copy of a job's folder in S3
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "report",
        help="write the report page of an evaluation",
        description="Writes one self-contained HTML file: scores with intervals, curves, failure "
        "kinds, and all transcripts.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="DIR|FILE", help="folder or episodes file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="page to write")
    parser.add_argument("--stage", default="", help="which evaluation of a folder with several")
    parser.add_argument("--title", default="", help="shown above the stage's name")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    page = source.load(source.find(given.path, given.stage), given.title, made)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    size = given.out.write_text(render(page), encoding="utf-8")
    say(f"{given.out}: {len(page.records)} episodes, {size / 2**20:.1f} MiB")
    return 0
