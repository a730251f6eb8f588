"""The documentation names files that exist, and its links lead somewhere."""

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
    "docs/models.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/pods.md",
    "docs/run-folder.md",
    "docs/status.md",
    "docs/synthesis.md",
    "docs/upgrades.md",
    "docs/where-to-change.md",
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


_LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def test_every_link_between_pages_leads_to_a_file_and_a_heading(root: Path) -> None:
    broken = []
    for page in [root / "README.md", root / "images" / "README.md", *(root / "docs").rglob("*.md")]:
        for target, anchor in _LINK.findall(page.read_text()):
            if target.startswith(("http://", "https://")):
                continue
            file = page.parent / target if target else page
            if not file.exists() or (anchor and anchor not in _anchors(file)):
                broken.append(f"{page.relative_to(root)}: {target}#{anchor}")
    assert not broken, f"links that lead nowhere: {broken}"


_WAYS = {
    "The way of one trajectory, from row to gradient": 25,
    "The way of one weight version": 15,
    "The way of one spec field": 10,
}


@pytest.mark.parametrize(("way", "most"), _WAYS.items())
def test_a_reader_follows_each_way_through_few_files(way: str, most: int, root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text()
    section = page.partition(f"\n## {way}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    files = [name for row in rows for name in _NAMED.findall(row)]
    assert 0 < len(files) <= most, files
    assert len(set(files)) == len(files), "no file is on the way twice"
