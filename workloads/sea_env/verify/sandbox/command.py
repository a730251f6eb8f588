"""How the sandbox's process is started: under bubblewrap, or bare with the filter alone.

Pure except for looking up where this Python is installed.
"""

import shutil
import sys
from enum import StrEnum
from pathlib import Path

from sea_env.verify.sandbox.limits import FunctionLimits

INSIDE = Path(__file__).parent / "inside"
_START = "import sys; sys.path.insert(0, {folder!r}); from inside.zygote import main; main()"
_BOUND = "/sandbox"
_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64")
"""Where shared libraries and, on most systems, Python's own modules are installed."""


class Walls(StrEnum):
    """What separates a function from the pod."""

    BOTH = "bubblewrap and seccomp"
    FILTER = "seccomp"


ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
"""Nothing from the pod's environment: its credentials are variables."""


def command(walls: Walls, limits: FunctionLimits) -> list[str]:
    """The command line; its stdin and stdout carry frames."""
    # As arguments: stdin carries frames only, and the environment is cleared.
    given = [f"{name}={value}" for name, value in limits.as_arguments().items()]
    folder = _BOUND if walls is Walls.BOTH else str(INSIDE.parent)
    # -s: no user site. -P: no script folder on sys.path. -S: no site-packages. Not -I: it would
    # ignore PYTHONHASHSEED, and sets of strings would have another order in each process.
    python = [_python(), "-s", "-P", "-S", "-c", _START.format(folder=folder), *given]
    return [*_bubblewrap(), *python] if walls is Walls.BOTH else python


def _python() -> str:
    """The interpreter itself, not a link of a virtual environment to it."""
    return str(Path(sys.executable).resolve())


def _bubblewrap() -> list[str]:
    """No /proc and no /dev: Python needs neither, and a pod in a pod may not mount them."""
    program = shutil.which("bwrap") or "bwrap"
    # bubblewrap's --unshare-all only tries to make a user namespace (--unshare-user-try); with
    # --unshare-user a machine that forbids it fails at the start. --new-session: without a
    # controlling terminal no input can be pushed into one (TIOCSTI).
    namespaces = ("--unshare-user", "--unshare-all", "--die-with-parent", "--new-session")
    folders = dict.fromkeys([*_SYSTEM, *_python_folders()])
    binds = [part for folder in folders for part in _visible(Path(folder))]
    own = ("--ro-bind", str(INSIDE), f"{_BOUND}/inside", "--chdir", "/")
    # --clearenv drops what bwrap itself was given; the binds come before "--", the command after
    # it.
    return [program, *namespaces, "--clearenv", *_variables(), *binds, *own, "--"]


def _variables() -> list[str]:
    return [part for name, value in ENVIRONMENT.items() for part in ("--setenv", name, value)]


def _visible(folder: Path) -> list[str]:
    if folder.is_symlink():
        # On merged-/usr systems /lib is a link to usr/lib: keep it a link rather than bind it
        # twice.
        return ["--symlink", str(folder.readlink()), str(folder)]
    return ["--ro-bind", str(folder), str(folder)] if folder.exists() else []


def _python_folders() -> list[str]:
    """The interpreter, its library folder and its modules in C, unless the system's hold them."""
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [_python(), str(base / "lib" / version), *map(str, (base / "lib").glob("libpython*"))]
    return [path for path in found if not path.startswith(tuple(f"{s}/" for s in _SYSTEM))]
