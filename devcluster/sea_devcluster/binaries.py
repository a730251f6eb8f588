"""Finding the control plane's programs: given by the user, cached, or built here and now.

    SEA_CONTROLPLANE_BIN=DIR        programs that are already on the machine
    ~/.cache/sea-operator/controlplane/HASH/   built earlier from the same go.mod and go.sum

`python -m sea_devcluster.binaries` builds what is missing and prints the folder; with `--needs-go`
it only tells, by exit status 0, that a Go toolchain must be installed first.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sea_devcluster.components import COMPONENTS
from sea_devcluster.errors import BinariesError, DevclusterError
from sea_devcluster.paths import cache_root, module_folder

PROGRAMS = (*COMPONENTS, "kubectl")
ENVIRONMENT_VARIABLE = "SEA_CONTROLPLANE_BIN"
Progress = Callable[[str], None]


def module_hash(folder: Path) -> str:
    """16 hexadecimal digits that name one set of pinned sources."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where the programs of the pinned module are cached."""
    return cache_root() / "controlplane" / module_hash(_module())


def missing(folder: Path) -> list[str]:
    """Programs that `folder` lacks."""
    return [name for name in PROGRAMS if not os.access(folder / name, os.X_OK)]


def locate() -> Path | None:
    """Folder of the programs if they are there already; builds nothing.

    Raises:
        BinariesError: `SEA_CONTROLPLANE_BIN` names a folder that lacks some.
    """
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        folder = Path(given).expanduser().resolve()
        if lacking := missing(folder):
            raise BinariesError(
                f"{ENVIRONMENT_VARIABLE}={given} lacks {', '.join(lacking)}; put them there, "
                "or unset the variable to have them built."
            )
        return folder
    folder = cache_folder()
    return None if missing(folder) else folder


def find_binaries(progress: Progress | None = None) -> Path:
    """Folder that holds `PROGRAMS`; builds those that are missing, which takes minutes.

    Args:
        progress: Receives a line about each step of a build; logged if None.

    Raises:
        BinariesError: They cannot be built; the message says why.
    """
    folder = locate()
    if folder is None:
        from sea_devcluster.build import build_into

        folder = cache_folder()
        build_into(folder, _module(), progress or logging.getLogger(__name__).info)
    return folder


def _module() -> Path:
    folder = module_folder()
    if not (folder / "go.mod").exists():
        raise BinariesError(
            f"There is no go.mod in {folder}: run from a checkout of sea-operator, or set "
            f"{ENVIRONMENT_VARIABLE} to a folder with {', '.join(PROGRAMS)}."
        )
    return folder


def needs_go() -> bool:
    """Whether the programs must be built and no Go here can do it: `scripts/setup.py` asks."""
    from sea_devcluster.toolchain import find_go

    if locate() is not None:
        return False
    try:
        find_go()
    except BinariesError:
        return True
    return False


def main() -> int:
    """Command line: builds with progress on standard error, prints the folder."""
    try:
        if sys.argv[1:] == ["--needs-go"]:
            return 0 if needs_go() else 1
        folder = find_binaries(lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    except DevclusterError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(folder)  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
