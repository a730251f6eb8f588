"""What operator and pods share is written in `sea_api.contract` and read from there, nowhere else.

The sources of all other packages are parsed; docstrings may name a variable or a port, code not.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sea_api import contract
from sea_api.contract import Env
from sea_api.v1alpha1.names import GPU, GROUP
from sea_api.v1alpha1.policy import Role

PACKAGES = (
    "operator/sea_operator",
    "workloads/sea_runtime",
    "workloads/sea_cli",
    "workloads/sea_data",
    "workloads/sea_env",
    "devcluster/sea_devcluster",
)

VARIABLES = (
    *Env,
    contract.OPENAI_API_KEY,
    contract.S3_ACCESS_KEY,
    contract.S3_SECRET_KEY,
    contract.S3_ENDPOINT_URL,
    contract.S3_REGION,
)
PORTS = (
    contract.COORDINATOR_PORT,
    contract.TRAINER_HEALTH_PORT,
    contract.ENGINE_PORT,
    contract.WORKER_PORT,
)
LABELS = (f"{GROUP}/", GPU)

_VARIABLE = re.compile(rf"\b({'|'.join(map(re.escape, VARIABLES))})\b")
_LABEL = re.compile("|".join(map(re.escape, LABELS)))
_FOLDER = re.compile(rf"^{re.escape(contract.DATA_DIR)}(/|$)")
# A server on the reader's own machine, in a usage example, is none of the job's.
_PORT_IN_URL = re.compile(rf"(?<!localhost):({'|'.join(map(str, PORTS))})\b")
_POD_NAME = re.compile(rf"^-({'|'.join(contract.role_label(role) for role in Role)}|auth)(-|$)")

ALLOWED = {
    ("operator/sea_operator/settings.py", "8080"): "the operator's own health port, not a pod's",
}
"""(file, literal) -> why it may stand there."""


def _docstrings(tree: ast.AST) -> set[int]:
    """Ids of the strings that are statements of their own."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _after_a_value(tree: ast.AST) -> set[int]:
    """Ids of the strings that follow a `{value}` within an f-string."""
    return {
        id(after)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for before, after in zip(node.values, node.values[1:], strict=False)
        if isinstance(before, ast.FormattedValue)
    }


def literals(source: str) -> Iterator[str]:
    """Every literal of the contract that the source spells out, as its text."""
    tree = ast.parse(source)
    docstrings, suffixes = _docstrings(tree), _after_a_value(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str):
            patterns = [_VARIABLE, _LABEL, _FOLDER, _PORT_IN_URL]
            patterns += [_POD_NAME] if id(node) in suffixes else []
            if any(pattern.search(node.value) for pattern in patterns):
                yield node.value
        elif node.value in PORTS and not isinstance(node.value, bool):
            yield str(node.value)


def _sources(root: Path) -> list[Path]:
    return [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]


def test_the_packages_spell_out_nothing_of_the_contract(root: Path) -> None:
    found = [
        f"{name}: {text!r}"
        for path in _sources(root)
        for text in literals(path.read_text(encoding="utf-8"))
        if ((name := str(path.relative_to(root))), text) not in ALLOWED
    ]
    assert found == [], "read these from sea_api.contract"


def test_every_allowance_is_still_needed(root: Path) -> None:
    unused = [
        (name, text)
        for name, text in ALLOWED
        if text not in literals((root / name).read_text(encoding="utf-8"))
    ]
    assert unused == []


@pytest.mark.parametrize(
    "source",
    [
        'job = env["SEA_JOB"]',
        'key = "its key is in OPENAI_API_KEY"',
        'region = get("AWS_DEFAULT_REGION")',
        "PORT = 8081",
        'url = f"http://{host}:8000/v1"',
        'label = {"sea-operator.io/role": role}',
        'name = f"{job}-trainer-{ordinal}"',
        'host = f"{job}-coordinator"',
        'secret = f"{job}-auth"',
        'folder = "/sea/data"',
        'gpus = {"nvidia.com/gpu": "8"}',
        'kind = labels["nvidia.com/gpu.product"]',
    ],
)
def test_a_literal_of_the_contract_is_found(source: str) -> None:
    assert list(literals(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""Serves on POD_IP:8080."""',
        "job = env[Env.JOB]",
        'variable = "SEA_JOBS"',
        'example = "http://localhost:8000/v1"',
        'folder = f"{url}/base-user"',
        'container = "trainer"',
        "attempts = 80",
    ],
)
def test_other_literals_are_left_alone(source: str) -> None:
    assert not list(literals(source))
