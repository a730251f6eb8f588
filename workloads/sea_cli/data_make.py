"""`sea data shop|world|tau2` and `sea model tiny`: data sets, databases and a model from seeds."""

import argparse
from pathlib import Path

from sea_cli import fetching
from sea_cli.common import Commands, command, judge_option, local, say, store_for, write_lines
from sea_cli.options import positive
from sea_data.errors import DataFileError
from sea_data.formats import data_files, sft, shop_dataset
from sea_data.formats.tau2_convert import convert
from sea_data.tiny_model import model_folder, tokenizer
from sea_env.domains import registry
from sea_env.domains.database_generator import Size, generate_database


def add_shop(commands: Commands) -> None:
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
    parser.set_defaults(run=_run_shop)


def _size(parser: argparse.ArgumentParser, name: str, default: int, what: str) -> None:
    parser.add_argument(
        name, type=positive, default=default, metavar="N", help=f"{what} (default {default})"
    )


def _run_shop(given: argparse.Namespace) -> int:
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


def add_world(commands: Commands) -> None:
    parser = command(
        commands,
        "world",
        "make a database and a policy from a seed: db.json, user_db.json where there is one, "
        "policy.md",
        "sea data world --domain airline --size small --seed 7 --out data/airline",
    )
    parser.add_argument("--domain", required=True, help=", ".join(registry.names()))
    parser.add_argument(
        "--size",
        choices=[str(size) for size in Size],
        default=str(Size.MEDIUM),
        help="how many records (default medium)",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--out", type=local, required=True, help="folder to write")
    parser.set_defaults(run=_run_world)


def _run_world(given: argparse.Namespace) -> int:
    world = generate_database(registry.get(given.domain), given.size, given.seed)
    for name, text in world.files().items():
        write_lines(given.out / name, iter([text]))
        say(f"{given.out / name}: {len(text.encode()):,} bytes")
    counts = ", ".join(f"{len(table)} {name}" for name, table in world.agent.items())
    say(f"{given.domain}, {given.size}, seed {given.seed}: {counts}")
    return 0


def add_tau2(commands: Commands) -> None:
    parser = command(
        commands,
        "tau2",
        "convert a domain of tau2-bench to tasks, dialogues and databases of a job",
        "sea data tau2 --domain retail --data ../tau2/retail --out data/retail",
    )
    parser.add_argument("--domain", required=True, help=", ".join(registry.names()))
    parser.add_argument(
        "--data", required=True, help=f"{fetching.FOLDER}, with db.*, tasks.json and policy.md"
    )
    parser.add_argument("--out", type=local, required=True, help="folder to write")
    parser.add_argument(
        "--drop-nl-assertions",
        action="store_true",
        help="score tasks without their assertions in natural language (they need a judge model); "
        "by default such tasks are left out",
    )
    judge_option(parser, "keep such tasks as they are")
    parser.set_defaults(run=_run_tau2)


def _run_tau2(given: argparse.Namespace) -> int:
    with fetching.folder(given.data) as data:
        return _convert(given, data)


def _convert(given: argparse.Namespace, data: Path) -> int:
    domain = registry.get(given.domain)
    converted = convert(
        domain, data, drop_nl_assertions=given.drop_nl_assertions, judged=given.judge
    )
    counts: dict[str, int] = {}
    for name, lines in converted.files.items():
        counts[name] = write_lines(given.out / name, lines)
        say(f"{given.out / name}" + (f": {counts[name]} rows" if name.endswith(".jsonl") else ""))
    if converted.refused:
        say(f"{len(converted.refused)} tasks left out, the first because: {converted.refused[0]}")
    return 0 if counts["rl.jsonl"] else 1


def add_tiny_model(commands: Commands) -> None:
    parser = command(
        commands,
        "tiny",
        "build the tiny Qwen3-MoE with a tokenizer fitted to dialogue files",
        "sea model tiny --data data/shop/sft.jsonl data/shop/user_sft.jsonl --out models/tiny",
    )
    parser.add_argument("--data", nargs="*", default=[], metavar="FILE", help="dialogue files")
    parser.add_argument(
        "--policy",
        nargs="*",
        default=[],
        type=Path,
        metavar="FILE",
        help="more texts to fit the tokenizer to",
    )
    parser.add_argument("--out", type=local, required=True, help="folder to write")
    parser.add_argument("--context-length", type=int, default=512, help="in tokens (default 512)")
    parser.add_argument("--seed", type=int, default=0, help="for the random weights (default 0)")
    parser.set_defaults(run=_run_tiny_model)


def _run_tiny_model(given: argparse.Namespace) -> int:
    loaded = sft.load((file, data_files.lines(file, store_for(file))) for file in given.data)
    if not loaded.dialogues:
        raise DataFileError(
            " ".join(given.data) or "--data",
            "there is no usable dialogue to fit the tokenizer to. Name dialogue files "
            "(`sea data shop` makes some); `sea data check FILE` checks each row.",
        )
    policies = [data_files.text(path) for path in given.policy]
    texts = tokenizer.texts(tokenizer.both_sides(loaded.dialogues), policies)
    model_folder.build(texts, given.out, given.context_length, given.seed)
    say(f"{given.out}: tiny model, tokenizer fitted to {len(loaded.dialogues)} dialogues")
    return 0
