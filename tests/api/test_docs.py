"""The documentation names files that exist."""

import re
from pathlib import Path

import pytest

_ROOTS = (
    "",
    "examples",
    "crds",
    "operator",
    "workloads",
    "devcluster",
    "workloads/sea_runtime",
    "workloads/sea_data",
    "workloads/sea_env",
    "operator/sea_operator",
    "crds/sea_api/v1alpha1",
    "operator/sea_operator/policies",
    "devcluster/sea_devcluster",
    "workloads/sea_runtime/coordinator",
    "workloads/sea_runtime/rollout/vllm_plugin",
    "workloads/sea_env/tokens",
    "workloads/sea_env/verify",
)
_NAMED = re.compile(r"`([A-Za-z_][A-Za-z0-9_./-]*\.(?:py|yaml|toml))`")
_TOP = ("crds", "operator", "workloads", "devcluster", "tests", "examples", "docs", "requirements")
_PATH = re.compile(rf"`((?:{'|'.join(_TOP)})/[A-Za-z0-9_./-]+)`")
_PAGES = (
    "README.md",
    "images/README.md",
    "docs/architecture.md",
    "docs/checking-a-job.md",
    "docs/data-formats.md",
    "docs/domains/airline.md",
    "docs/elasticity.md",
    "docs/evaluation.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/pods.md",
    "docs/run-folder.md",
    "docs/status.md",
    "docs/synthesis.md",
    "docs/upgrades.md",
    "docs/writing-verifiers.md",
)


@pytest.mark.parametrize("page", _PAGES)
def test_every_file_that_a_page_names_exists(page: str, root: Path) -> None:
    named = set(_NAMED.findall((root / page).read_text()))
    assert named or page != "docs/architecture.md", "the page names files as `path.py`"
    gone = [n for n in named if not any((root / base / n).is_file() for base in _ROOTS)]
    assert not gone, f"{page} names {sorted(gone)}, which do not exist: correct the page"


@pytest.mark.parametrize("page", [*_PAGES, "docs/adding-a-domain.md", "docs/domains/telecom.md"])
def test_every_path_from_the_root_that_a_page_names_exists(page: str, root: Path) -> None:
    gone = [path for path in _PATH.findall((root / page).read_text()) if not (root / path).exists()]
    assert not gone, f"{page} names {sorted(gone)}, which do not exist: correct the page"
