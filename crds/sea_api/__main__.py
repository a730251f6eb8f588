"""`python -m sea_api`: print, write or check what is generated from the models."""

import argparse
import sys
from pathlib import Path

from sea_api import outputs
from sea_api.crd import custom_resource_definition, to_yaml


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 fine, 1 generated files are stale, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    match options.command:
        case "crds":
            sys.stdout.write(to_yaml(custom_resource_definition()))
        case "write-crds":
            for path in outputs.write(options.root):
                sys.stdout.write(f"wrote {path}\n")
        case "check-crds":
            return _check(options.root)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sea_api", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("crds", help="print the CRD")
    for name, text in [
        ("write-crds", "write the CRD, the chart's copy and the field reference"),
        ("check-crds", "fail if a generated file differs from the models"),
    ]:
        command = commands.add_parser(name, help=text)
        command.add_argument("--root", type=Path, default=Path(), help="root of the repository")
    return parser


def _check(root: Path) -> int:
    stale = outputs.differing(root)
    for path in stale:
        sys.stderr.write(f"{path} is stale: run `make crds`.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
