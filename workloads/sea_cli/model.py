"""`sea model tiny`: builds the tiny model for given data."""

import argparse
from pathlib import Path

from sea_cli.common import Commands, command, local, say, store_for
from sea_data.formats import data_files, sft
from sea_data.formats.errors import DataFileError
from sea_data.tiny_model import model_folder, tokenizer


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "tiny",
        "build the tiny Qwen3-MoE with a tokenizer fitted to dialogue files",
        "sea model tiny --data data/shop/sft.jsonl data/shop/user_sft.jsonl --out models/tiny",
    )
    parser.add_argument("--data", nargs="*", default=[], metavar="FILE", help="dialogue files")
    parser.add_argument("--policy", nargs="*", default=[], type=Path, metavar="FILE")
    parser.add_argument("--out", type=local, required=True, help="folder to write")
    parser.add_argument("--context-length", type=int, default=512, help="in tokens")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    loaded = sft.load((file, data_files.lines(file, store_for(file))) for file in given.data)
    if not loaded.dialogues:
        raise DataFileError(
            " ".join(given.data) or "--data",
            "there is no usable dialogue to fit the tokenizer to. Name dialogue files "
            "(`sea data shop` makes some); `sea data check FILE` tells what is wrong with a row.",
        )
    policies = [path.read_text(encoding="utf-8") for path in given.policy]
    texts = tokenizer.texts(tokenizer.both_sides(loaded.dialogues), policies)
    model_folder.build(texts, given.out, given.context_length, given.seed)
    say(f"{given.out}: tiny model, tokenizer fitted to {len(loaded.dialogues)} dialogues")
    return 0
