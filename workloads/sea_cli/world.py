"""`sea data world`: a database and a policy of our own."""

import argparse

from sea_cli.common import Commands, command, local, say, write_lines
from sea_env.domains import registry, worlds


def add(commands: Commands) -> None:
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
        choices=[str(size) for size in worlds.Size],
        default=str(worlds.Size.MEDIUM),
        help="how many records (default medium)",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--out", type=local, required=True, help="folder to write")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    world = worlds.make(given.domain, given.size, given.seed)
    for name, text in worlds.files(world).items():
        write_lines(given.out / name, iter([text]))
        say(f"{given.out / name}: {len(text.encode()):,} bytes")
    counts = ", ".join(f"{len(table)} {name}" for name, table in world.agent.items())
    say(f"{given.domain}, {given.size}, seed {given.seed}: {counts}")
    return 0
