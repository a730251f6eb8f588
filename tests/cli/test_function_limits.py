"""`--function-*` of `sea evaluate` and `sea play`."""

import pytest

from sea_cli import main, options
from sea_cli.app import parser
from sea_env.verify.sandbox.limits import FunctionLimits

COMMANDS = (
    ["evaluate", "--domain", "shop", "--data", "d", "--out", "o"],
    ["play", "shop", "1", "--data", "d"],
)
OPTIONS = ["--function-cpu", "5", "--function-timeout", "40", "--function-memory", "128"]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_become_limits(command: list[str]) -> None:
    usual = options.function_limits(parser().parse_args(command))
    assert usual == FunctionLimits()
    given = options.function_limits(parser().parse_args([*command, *OPTIONS]))
    assert given == FunctionLimits(5, 40.0, 128 << 20)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (["--function-cpu", "0"], "must be at least 1"),
        (["--function-timeout", "inf"], "must be a positive number of seconds"),
        (["--function-memory", "1"], "must be a whole number of at least 64 MiB"),
        (["--function-memory", "lots"], "must be a whole number of at least 64 MiB"),
    ],
)
def test_limits_that_are_none(
    option: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*COMMANDS[1], *option])
    assert sentence in capsys.readouterr().err
