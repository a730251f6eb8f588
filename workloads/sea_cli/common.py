"""What the subcommands share: options, output, reading of files."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from sea_data.formats import compression, data_files

DATA_FILE = f"path or s3:// address; {', '.join(compression.SUFFIXES)} are unpacked"


class Commands(Protocol):
    """What `add_subparsers` gives; argparse keeps its type private."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser: ...


def command(commands: Commands, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    """A subcommand whose help ends with an example."""
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def judge_option(parser: argparse.ArgumentParser, effect: str) -> None:
    """`--judge`, for commands that ask no judge but must know whether there is one."""
    parser.add_argument(
        "--judge",
        action="store_true",
        help="the rows are used with a judge model (spec.verifier.judge of a job, --judge-endpoint "
        f"of `sea evaluate`): {effect}",
    )


def local(text: str) -> Path:
    """A path to write to. Rejects s3:// addresses here."""
    if data_files.is_remote(text):
        raise argparse.ArgumentTypeError(
            f"{text} is an address in S3: results are written to a disk, name a path here and "
            "upload it from there"
        )
    return Path(text)


def say(line: str = "") -> None:
    """One line to standard output."""
    sys.stdout.write(line + "\n")


def store_for(address: str) -> Any:
    """The object store for an `s3://` address, None for a local path."""
    if not data_files.is_remote(address):
        return None
    from sea_runtime.store.s3 import ObjectStore

    return ObjectStore(retry_timeout=20.0)


def again() -> str:
    """The command that goes on with what this one leaves."""
    given = sys.argv[1:]
    return shlex.join(["sea", *given, *([] if "--resume" in given else ["--resume"])])


def write_lines(path: Path, lines: Iterator[str]) -> int:
    """Writes a file at one go and says how many lines it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    count = 0
    with partial.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line)
            count += 1
    partial.replace(path)
    return count
