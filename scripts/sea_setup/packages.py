"""`.venv`: exactly what the lock says, plus this checkout, editable.

The lock pins torch of the package index (with CUDA) by hash. A CPU build calls itself `2.13.0+cpu`,
has other hashes and needs none of NVIDIA's libraries, so for it the lock is installed without torch
and those, and torch after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from sea_setup.console import Console, SetupError
from sea_setup.tools import Tools

LOCK = "requirements/cpu.lock"
PROJECT = "pyproject.toml"
STAMP = "sea-setup.json"
"""What `.venv` was made from. Compiling bytecode takes a minute, so an unchanged one is kept."""
MIN_FREE_BYTES = 15 * 10**9
"""Packages 7 GB, Go's build cache 6 GB, its modules and the programs 2 GB."""
_EXTRAS = ("operator", "workloads", "cpu", "devcluster")
_PACKAGE = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)")
# Every package of these names in the lock is there for torch alone; triton is xgrammar's, too.
_CUDA_PREFIXES = ("nvidia-", "cuda-")


def ensure(root: Path, tools: Tools, console: Console) -> None:
    """Makes `.venv` what the lock says, whatever state it is in; nothing if it is that already.

    Raises:
        SetupError: No disk, no Python, or a package can't be fetched or installed.
    """
    folder, wanted = root / ".venv", stamp(root)
    found = read_stamp(folder)
    changed = {key for key in wanted if found.get(key) != wanted[key]}
    if not changed:
        return
    require_disk(root, shutil.disk_usage(root).free)
    tools.ensure_uv()
    (folder / STAMP).unlink(missing_ok=True)  # an interrupted installation has no stamp
    if changed != {PROJECT}:
        _install_lock(root, tools, console)
    install = ("install", "--no-deps", "-e", str(root))
    tools.pip("Installing sea-operator", folder / "bin" / "python", *install)
    (folder / STAMP).write_text(json.dumps(wanted, indent=1))


def stamp(root: Path) -> dict[str, str]:
    """Everything that `.venv` is made from."""
    files = {
        name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in (LOCK, PROJECT)
    }
    variables = {name: os.environ.get(name, "") for name in ("SEA_TORCH", "SEA_PYTHON")}
    return {**files, **variables, "root": str(root), "links": os.environ.get("PIP_FIND_LINKS", "")}


def read_stamp(folder: Path) -> dict[str, str]:
    """The stamp of an environment; empty if it has none."""
    try:
        content: dict[str, str] = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return content if (folder / "bin" / "python").exists() else {}


def require_disk(root: Path, free: int) -> None:
    """Checks that the checkout's disk has `free` bytes enough.

    Raises:
        SetupError: It is too small.
    """
    if free < MIN_FREE_BYTES:
        raise SetupError(
            f"Setting up takes 15 GB and the disk of {root} has {free / 1e9:.1f} GB free; free "
            "some, or move the checkout to a larger disk."
        )


def torch_arguments(choice: str, lock: str, find_links: str) -> list[str]:
    """Arguments of `uv pip install` for torch; empty if the lock's own build is installed.

    Args:
        choice: `SEA_TORCH`: `lock`, `cpu`, or empty for a local version of the pinned torch in
            `find_links`, else the lock's.
        lock: Text of the lock.
        find_links: `UV_FIND_LINKS`.

    Raises:
        SetupError: `choice` is something else.
    """
    pinned = re.search(r"^torch==(\S+)", lock, re.MULTILINE)
    assert pinned is not None, "the lock does not pin torch"
    if choice == "cpu":
        return ["--torch-backend", "cpu", f"torch=={pinned[1]}"]
    if choice not in ("", "lock"):
        raise SetupError(f"SEA_TORCH={choice} is unknown; use `lock` or `cpu`, or unset it.")
    for link in [] if choice else find_links.split(","):
        for wheel in sorted(Path(link).expanduser().glob("torch-*.whl")):
            version = wheel.name.split("-")[1]
            if version.startswith(f"{pinned[1]}+"):
                return [f"torch=={version}"]
    return []


def without_torch(lock: str, *, keep_cuda: bool) -> str:
    """The lock without torch and, unless `keep_cuda`, without what only its CUDA build needs."""
    kept: list[str] = []
    dropping = False
    for line in lock.splitlines(keepends=True):
        match = _PACKAGE.match(line)
        if match:
            cuda = match[1].startswith(_CUDA_PREFIXES) and not keep_cuda
            dropping = match[1] == "torch" or cuda
        elif not line.startswith(" "):
            dropping = False
        if not dropping:
            kept.append(line)
    return "".join(kept)


def write_lock(root: Path, tools: Tools, console: Console) -> None:
    """`make lock`: one lock for all Python versions; keeps pins that pyproject.toml allows."""
    extras = [part for extra in _EXTRAS for part in ("--extra", extra)]
    options = ["--override", "requirements/overrides.txt", "--generate-hashes", "--universal"]
    options += [
        "--python-version",
        "3.11",
        "--no-annotate",
        "--custom-compile-command",
        "make lock",
    ]
    inputs = [PROJECT, "requirements/extra.in", *extras, "--group", "dev"]
    command = [tools.uv, "pip", "compile", *inputs, *options, "--quiet", "--output-file", LOCK]
    console.say(f"Resolving {LOCK}")
    console.run("Resolving the lock", command, tools.environment, cwd=str(root))
    console.say(f"{LOCK} is up to date; delete it first to move to the newest versions.")


def _install_lock(root: Path, tools: Tools, console: Console) -> None:
    folder, python = root / ".venv", root / ".venv" / "bin" / "python"
    request, version = tools.find_python()
    if tools.python_version(str(python)) != version:
        console.say(f"Environment .venv with Python {version}")
        make = [tools.uv, "venv", "--quiet", "--clear", "--python", request, str(folder)]
        console.run("Making .venv", make, tools.environment)
    path = root / LOCK
    lock = path.read_text()
    choice, links = os.environ.get("SEA_TORCH", ""), tools.environment.get("UV_FIND_LINKS", "")
    torch = torch_arguments(choice, lock, links)
    if torch:
        path = root / ".tools" / "without-torch.lock"
        path.write_text(without_torch(lock, keep_cuda="+cu" in torch[-1]))
    console.say("Python packages into .venv: 7 GB when unpacked")
    # Compiled now, or every pod would compile vLLM for itself: pods can't write here.
    sync = ("sync", "--require-hashes", "--compile-bytecode", str(path))
    tools.pip("Installing Python packages", python, *sync)
    if torch:
        tools.pip("Installing torch", python, "install", "--no-deps", *torch)
