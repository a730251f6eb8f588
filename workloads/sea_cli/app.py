"""The `sea` command: finds the subcommand, turns errors into sentences and exit codes.

Exit codes: 0 done, 1 data or a job with problems or an unreadable file, 2 wrong usage, 130
interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from sea_api.errors import SeaError
from sea_cli import (
    checkpoint,
    data_check,
    data_fix,
    data_make,
    data_replay,
    data_stats,
    evaluate,
    job_check,
    model_check,
    plan,
    play,
    replay,
    report,
    synth,
)

_EPILOG = """\
examples:
  sea job check job.yaml
  sea plan job.yaml
  sea data shop --out data/shop --dialogues 3200
  sea data check data/shop/sft.jsonl data/shop/rl_train.jsonl
  sea data fix from_datasets.jsonl --out sft.jsonl
  sea data stats data/shop/sft.jsonl
  sea data tau2 --domain retail --data ../tau2/retail --out data/retail
  sea data replay --domain retail --data ../tau2/retail
  sea data world --domain airline --size small --seed 7 --out data/airline
  sea model tiny --data data/shop/sft.jsonl --out models/tiny
  sea model check models/tiny --text "Hello there"
  sea synth --domain shop --count 1000 --out data/shop-syn
  sea evaluate --endpoint http://localhost:8000/v1 --model qwen3 --domain shop \\
      --data data/shop --out out/qwen3-shop
  sea replay out/qwen3-shop/episodes.jsonl --number 1
  sea checkpoint list s3://bucket/jobs/my-job-0a1b2c3d
  sea play shop 1 --data data/shop
"""


def parser() -> argparse.ArgumentParser:
    """The whole command tree."""
    top = argparse.ArgumentParser(
        prog="sea",
        description="Jobs, data, models and evaluation for agentic RL post-training.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups = top.add_subparsers(dest="group", required=True, metavar="GROUP")
    jobs = groups.add_parser("job", help="check SEATrainingJobs without a cluster")
    job_check.add(jobs.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    checkpoints = groups.add_parser(
        "checkpoint", help="look at a run's checkpoints, go back to one"
    )
    checkpoint.add(checkpoints.add_subparsers(dest="command", required=True, metavar="COMMAND"))
    data = groups.add_parser("data", help="make, convert, check and count data files")
    commands = data.add_subparsers(dest="command", required=True, metavar="COMMAND")
    data_check.add(commands)
    data_fix.add(commands)
    data_replay.add(commands)
    data_make.add_shop(commands)
    data_stats.add(commands)
    data_make.add_tau2(commands)
    data_make.add_world(commands)
    for own in (plan, evaluate, report, replay, play):
        own.add(groups)
    models = groups.add_parser("model", help="make and check models")
    commands = models.add_subparsers(dest="command", required=True, metavar="COMMAND")
    model_check.add(commands)
    data_make.add_tiny_model(commands)
    synth.add(groups)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the return value is the process's exit code."""
    given = parser().parse_args(arguments)
    try:
        code: int = given.run(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\nsea: interrupted.\n")
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has had enough; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, SeaError) as error:
        sys.stderr.write(f"sea: {_sentence(error)}\n")
        return 1
    return code


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error)
