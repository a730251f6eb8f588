"""Which build of torch goes into `.venv`: the lock's (CUDA), or a CPU build.

The lock pins torch of the package index by hash. A CPU build calls itself `2.13.0+cpu`, has other
hashes and needs none of NVIDIA's libraries, so for it the lock is used without torch and those,
and torch is installed after.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sea_setup.errors import SetupError

_NAME = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)")
# Every package of these names in the lock is there for torch alone; triton is xgrammar's too.
_CUDA_PREFIXES = ("nvidia-", "cuda-")


@dataclass(frozen=True)
class TorchBuild:
    """How torch is installed; also part of the stamp that says what `.venv` holds."""

    kind: str
    """`lock`, `cpu` or `found`."""
    version: str = ""
    """With its local part, such as `2.13.0+cpu`; only for `found`."""

    @property
    def in_lock(self) -> bool:
        """Whether the lock alone installs it."""
        return self.kind == "lock"

    @property
    def needs_cuda_packages(self) -> bool:
        """Whether NVIDIA's libraries come with it."""
        return self.kind == "lock" or "+cu" in self.version

    def arguments(self, pinned: str) -> list[str]:
        """What to tell `uv pip install`, besides where to look."""
        if self.kind == "found":
            return [f"torch=={self.version}"]
        return ["--torch-backend", "cpu", f"torch=={pinned}"]


def choose(wish: str, pinned: str, find_links: tuple[str, ...]) -> TorchBuild:
    """The build to install.

    Args:
        wish: `SEA_TORCH`: `lock`, `cpu` or empty.
        pinned: Version in the lock.
        find_links: Folders with wheels; one with a local version of the pinned torch is taken, as
            the person who put it there wanted.

    Raises:
        SetupError: `wish` is something else.
    """
    if wish in ("lock", "cpu"):
        return TorchBuild(wish)
    if wish:
        raise SetupError(f"SEA_TORCH={wish} is unknown; say `lock` or `cpu`, or unset it.")
    for place in find_links:
        folder = Path(place).expanduser()
        for wheel in sorted(folder.glob("torch-*.whl")) if folder.is_dir() else []:
            version = wheel.name.split("-")[1]
            if version.startswith(f"{pinned}+"):
                return TorchBuild("found", version)
    return TorchBuild("lock")


def pinned_version(lock: str) -> str:
    """torch's version in the lock."""
    match = re.search(r"^torch==(\S+)", lock, re.MULTILINE)
    assert match is not None, "the lock does not pin torch"
    return match[1]


def without_torch(lock: str, *, keep_cuda: bool) -> str:
    """The lock without torch and, unless kept, without what only its CUDA build needs."""
    kept: list[str] = []
    dropping = False
    for line in lock.splitlines(keepends=True):
        match = _NAME.match(line)
        if match:
            dropping = match[1] == "torch" or (not keep_cuda and is_cuda(match[1]))
        elif not line.startswith(" "):
            dropping = False
        if not dropping:
            kept.append(line)
    return "".join(kept)


def is_cuda(name: str) -> bool:
    """Whether a package is one of those that torch's CUDA build brings."""
    return name.startswith(_CUDA_PREFIXES)
