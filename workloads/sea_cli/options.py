"""Options that several commands share: endpoints of models, limits of verification functions."""

import argparse
import os

from sea_api import limits
from sea_env.chat import Address
from sea_env.verify.sandbox.limits import FunctionLimits


def positive(text: str) -> int:
    """An argument that counts something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def seconds(text: str) -> float:
    """An argument that is a duration."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a positive number of seconds")
    return value


def temperature(text: str) -> float:
    """An argument that a sampler can take; NaN isn't even JSON."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def add_endpoint(parser: argparse.ArgumentParser, role: str, key: str, what: str) -> None:
    """`--ROLE-endpoint`, `--ROLE-model`, `--ROLE-api-key-env`; the agent's have no prefix."""
    prefix = f"--{role}-" if role else "--"
    parser.add_argument(
        f"{prefix}endpoint",
        type=url,
        metavar="URL",
        help=f"{what}: the address that /chat/completions is appended to",
    )
    parser.add_argument(f"{prefix}model", metavar="NAME", help=f"{what}: the model's name there")
    parser.add_argument(
        f"{prefix}api-key-env",
        metavar="VARIABLE",
        default=key,
        help=f"{what}: environment variable with the key (default {key})",
    )


def url(text: str) -> str:
    """An argument that is the base address of a server."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError("must begin with http:// or https://")
    return text


def address(given: argparse.Namespace, role: str, **options: object) -> Address | None:
    """The role's endpoint, None where none was named.

    Raises ArgumentTypeError where only one of endpoint and model was given.
    """
    name = f"{role}_" if role else ""
    url, model = getattr(given, f"{name}endpoint"), getattr(given, f"{name}model")
    if not url and not model:
        return None
    if not url or not model:
        flag = f"--{role}-" if role else "--"
        raise argparse.ArgumentTypeError(f"{flag}endpoint and {flag}model belong together")
    key = os.environ.get(getattr(given, f"{name}api_key_env"), "")
    return Address(url=url, model=model, api_key=key, **options)  # type: ignore[arg-type]


_DEFAULT = FunctionLimits()
_MIB = 1 << 20
_LEAST_MIB = limits.MIN_FUNCTION_MEMORY_BYTES // _MIB


def add_function_limits(parser: argparse.ArgumentParser) -> None:
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
        help=f"its wall-clock seconds (default {_DEFAULT.wall_s:.0f})",
    )
    parser.add_argument(
        "--function-memory",
        type=_memory,
        default=_DEFAULT.memory_bytes,
        metavar="MIB",
        help=f"its memory (default {_DEFAULT.memory_bytes // _MIB}, at least {_LEAST_MIB})",
    )


def function_limits(given: argparse.Namespace) -> FunctionLimits:
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


def add_request_limits(parser: argparse.ArgumentParser, retries: int) -> None:
    """`--timeout` and `--retries` of the requests to an endpoint; `retries` is the default."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=limits.REQUEST_TIMEOUT_SECONDS,
        metavar="S",
        help="time-out of one request (default %(default)s)",
    )
    parser.add_argument(
        "--retries",
        type=positive,
        default=retries,
        help="attempts per request (default %(default)s)",
    )
