"""`sea data shop`: the demo's data set."""

import argparse

from sea_cli.common import Commands, command, local, say, write_lines
from sea_cli.endpoints import positive
from sea_data.formats import shop_dataset


def add(commands: Commands) -> None:
    sizes = shop_dataset.Sizes()
    parser = command(
        commands,
        "shop",
        "make the shop's dialogues, tasks and databases",
        "sea data shop --out data/shop --seed 0 --dialogues 3200 --train-tasks 1000",
    )
    parser.add_argument("--out", type=local, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    _size(parser, "--dialogues", sizes.dialogues, "rows of sft.jsonl and of user_sft.jsonl")
    _size(parser, "--train-tasks", sizes.train_tasks, "rows of rl_train.jsonl")
    _size(parser, "--test-tasks", sizes.test_tasks, "rows of rl_test.jsonl")
    _size(parser, "--train-databases", sizes.train_databases, "databases of the training tasks")
    _size(parser, "--test-databases", sizes.test_databases, "databases of the held-out tasks")
    parser.set_defaults(run=run)


def _size(parser: argparse.ArgumentParser, name: str, default: int, what: str) -> None:
    parser.add_argument(
        name, type=positive, default=default, metavar="N", help=f"{what} (default {default})"
    )


def run(given: argparse.Namespace) -> int:
    sizes = shop_dataset.Sizes(
        dialogues=given.dialogues,
        train_tasks=given.train_tasks,
        test_tasks=given.test_tasks,
        train_databases=given.train_databases,
        test_databases=given.test_databases,
    )
    databases = 0
    for name, lines in shop_dataset.files(sizes, given.seed):
        count = write_lines(given.out / name, lines)
        if name.startswith("databases/"):
            databases += 1
        else:
            say(f"{given.out / name}: {count} rows")
    say(f"{given.out / 'databases'}: {databases} databases")
    return 0
