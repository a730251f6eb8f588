"""Options on what a row's verification function may use, where `sea` runs them."""

import argparse

from sea_cli.endpoints import positive, seconds
from sea_env.verify.sandbox.limits import FunctionLimits

_DEFAULT = FunctionLimits()
_MIB = 1 << 20
_LEAST_MIB = 64


def add(parser: argparse.ArgumentParser) -> None:
    """`--function-cpu`, `--function-timeout`, `--function-memory`: spec.verifier.functions."""
    parser.add_argument(
        "--function-cpu",
        type=positive,
        default=_DEFAULT.cpu_s,
        metavar="S",
        help=f"CPU seconds of a verification function (default {_DEFAULT.cpu_s})",
    )
    parser.add_argument(
        "--function-timeout",
        type=seconds,
        default=_DEFAULT.wall_s,
        metavar="S",
        help=f"its time on the clock (default {_DEFAULT.wall_s:.0f})",
    )
    parser.add_argument(
        "--function-memory",
        type=_memory,
        default=_DEFAULT.memory_bytes,
        metavar="MIB",
        help=f"its memory (default {_DEFAULT.memory_bytes // _MIB}, at least {_LEAST_MIB})",
    )


def limits(given: argparse.Namespace) -> FunctionLimits:
    """What the options say."""
    return FunctionLimits(
        cpu_s=given.function_cpu,
        wall_s=given.function_timeout,
        memory_bytes=given.function_memory,
    )


def _memory(text: str) -> int:
    if not text.isdecimal() or int(text) < _LEAST_MIB:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {_LEAST_MIB} MiB")
    return int(text) * _MIB
