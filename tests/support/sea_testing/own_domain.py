"""A Python package with a domain, as pip installs it in a folder on `sys.path`."""

import shutil
import sys
from pathlib import Path

from sea_env.domains import registry

EXAMPLE = Path(__file__).parents[3] / "examples" / "domain_library.py"
TASK_GENERATOR = EXAMPLE.with_name("domain_library_task_generator.py")
NAME = "my-library:library"


def write(
    folder: Path,
    *,
    distribution: str = "My_Library",
    point: str = "library = my_library.domain:Library",
) -> None:
    """Writes the package `my_library` of the examples and the metadata of one distribution."""
    package = folder / "my_library"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    shutil.copy(EXAMPLE, package / "domain.py")
    shutil.copy(TASK_GENERATOR, package / "task_generator.py")
    info = folder / f"{distribution.lower()}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{point}\n")


def forget() -> None:
    """Unloads the package from this process."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_library"]:
        del sys.modules[name]
    registry.forget()
