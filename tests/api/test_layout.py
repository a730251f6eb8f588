"""The four package folders land on `sys.path`, where a stray file would shadow the stdlib."""

from pathlib import Path

import pytest

FOLDERS = {
    "crds": {"sea_api"},
    "operator": {"sea_operator"},
    "workloads": {"sea_env", "sea_data", "sea_runtime", "sea_cli"},
    "devcluster": {"sea_devcluster"},
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_importable_is_next_to_the_package(folder: str, root: Path) -> None:
    """`operator/__init__.py` would break `import operator` of the standard library."""
    strays = [p.name for p in (root / folder).glob("*.py")]
    assert strays == [], f"move {strays} out of {folder}/, which is on sys.path"


@pytest.mark.parametrize(("folder", "expected"), FOLDERS.items())
def test_packages_of_each_folder(folder: str, expected: set[str], root: Path) -> None:
    packages = {p.parent.name for p in (root / folder).glob("*/__init__.py")}
    assert packages == expected


def test_operator_is_the_standard_librarys() -> None:
    import operator

    assert "site-packages" not in str(operator.__file__)
    assert operator.add(1, 2) == 3
