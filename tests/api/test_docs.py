"""The documentation names files that exist."""

import re
from pathlib import Path

import pytest

_ROOTS = (
    "",
    "crds",
    "operator",
    "workloads",
    "devcluster",
    "workloads/sea_runtime",
    "workloads/sea_data",
    "operator/sea_operator",
    "crds/sea_api/v1alpha1",
    "workloads/sea_runtime/rollout/vllm_plugin",
    "workloads/sea_env/tokens",
    "workloads/sea_env/verify",
)
_NAMED = re.compile(r"`([A-Za-z_][A-Za-z0-9_./-]*\.(?:py|yaml|toml|md))`")
_PAGES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "images/README.md")


@pytest.mark.parametrize("page", _PAGES)
def test_every_file_that_a_page_names_exists(page: str, root: Path) -> None:
    named = set(_NAMED.findall((root / page).read_text()))
    assert named or page != "docs/architecture.md", "the page names files as `path.py`"
    gone = [n for n in named if not any((root / base / n).is_file() for base in _ROOTS)]
    assert not gone, f"{page} names {sorted(gone)}, which do not exist: correct the page"
