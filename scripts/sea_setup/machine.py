"""What the machine must have before anything is installed: a sandbox for pods, memory, disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sea_setup.errors import SetupError
from sea_setup.progress import Progress

FREE_BYTES = 15 * 10**9
"""Packages 7 GB, Go's build cache 6 GB, its modules and the programs 2 GB."""


def ensure_bubblewrap(progress: Progress, environment: dict[str, str]) -> None:
    """Installs bubblewrap where we may, and makes a sandbox to see that it works.

    Raises:
        SetupError: It is missing, or the kernel or container forbids it.
    """
    from sea_devcluster import bubblewrap

    found = bubblewrap.find()
    if found.program is None and os.geteuid() == 0 and shutil.which("apt-get"):
        progress.say("bubblewrap by apt-get")
        quiet = {**environment, "DEBIAN_FRONTEND": "noninteractive"}
        progress.run("Updating the package lists", ["apt-get", "update", "-q"], quiet, 300.0)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "bubblewrap"]
        progress.run("Installing bubblewrap", command, quiet, 300.0)
        found = bubblewrap.find()
    sentence = bubblewrap.problem(found)
    if sentence:
        raise SetupError(sentence)


def require_memory(needed_gib: float, total: int) -> None:
    """Checks the machine's size; what is free of it, the demo sees when it starts.

    Args:
        needed_gib: What the program that is set up for needs.
        total: Bytes of the machine, or the container's limit.

    Raises:
        SetupError: No program that ends would make it enough.
    """
    if total < needed_gib * 2**30:
        raise SetupError(
            f"This needs {needed_gib:g} GiB of memory and the machine has {total / 2**30:.1f} GiB "
            "in all; use a larger machine, or raise the container's limit."
        )


def require_disk(root: Path, free: int) -> None:
    """Checks the disk of the checkout.

    Raises:
        SetupError: It is too small.
    """
    if free < FREE_BYTES:
        raise SetupError(
            f"Setting up takes 15 GB and the disk of {root} has {free / 1e9:.1f} GB free; free "
            "some, or move the checkout to a larger disk."
        )
