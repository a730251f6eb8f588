"""Where the control plane's programs are: given by the user, or in the cache.

    SEA_CONTROLPLANE_BIN=DIR        programs that are already on the machine
    ~/.cache/sea-operator/controlplane/HASH/   built earlier from the same go.mod and go.sum

`build` makes the missing ones.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from sea_devcluster.components import COMPONENTS
from sea_devcluster.errors import BinariesError
from sea_devcluster.paths import cache_root, module_folder

PROGRAMS = (*COMPONENTS, "kubectl")
ENVIRONMENT_VARIABLE = "SEA_CONTROLPLANE_BIN"


def locate() -> Path | None:
    """Folder that holds `PROGRAMS`; None if they must be built.

    Raises:
        BinariesError: `SEA_CONTROLPLANE_BIN` names a folder that lacks some, or there is no module
            to build from.
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


def missing(folder: Path, programs: Iterable[str] = PROGRAMS) -> list[str]:
    """Those of `programs` that `folder` lacks."""
    return [name for name in programs if not os.access(folder / name, os.X_OK)]


def cache_folder() -> Path:
    """Where the programs of the pinned module are cached."""
    return cache_root() / "controlplane" / module_hash(require_module())


def module_hash(folder: Path) -> str:
    """16 hexadecimal digits that identify one set of pinned sources."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


def require_module() -> Path:
    """Folder of the Go module that pins the programs.

    Raises:
        BinariesError: This isn't a checkout.
    """
    folder = module_folder()
    if not (folder / "go.mod").exists():
        raise BinariesError(
            f"There is no go.mod in {folder}: run from a checkout of sea-operator, or set "
            f"{ENVIRONMENT_VARIABLE} to a folder with {', '.join(PROGRAMS)}."
        )
    return folder
