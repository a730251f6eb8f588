"""`sea report`: the page of an evaluation, made again from its episodes."""

import argparse
import time

from sea_cli import fetching
from sea_cli.common import Commands, local, say
from sea_data.evaluation.report import render, source
from sea_data.formats.data_files import is_remote

_EXAMPLES = """\
examples:
  sea report out/qwen3-shop --out report.html
  sea report run/evaluation/eval-rl.episodes.jsonl --out eval-rl.html
  sea report s3://bucket/jobs/tiny-1a2b3c4d --stage eval-rl --out eval-rl.html    a job's folder
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
    parser.add_argument(
        "path", metavar="DIR|FILE", help="folder or episodes file, here or at an s3:// address"
    )
    parser.add_argument("--out", type=local, required=True, metavar="FILE", help="page to write")
    parser.add_argument("--stage", default="", help="which evaluation of a folder with several")
    parser.add_argument("--title", default="", help="shown above the stage's name")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    folder, name = _place(given.path)
    with fetching.folder(folder, source.wanted(given.stage)) as found:
        page = source.load(source.find(found / name, given.stage), given.title, made)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    size = given.out.write_text(render(page), encoding="utf-8")
    say(f"{given.out}: {len(page.records)} episodes, {size / 2**20:.1f} MiB")
    return 0


def _place(path: str) -> tuple[str, str]:
    """The folder to read and a file's place in it: neighbors of a file belong to it."""
    if not is_remote(path) or not path.endswith(source.EPISODES):
        return path, ""
    folder, _, name = path.rpartition("/")
    above, _, last = folder.rpartition("/")
    return (above, f"{last}/{name}") if last == source.FOLDER else (folder, name)
