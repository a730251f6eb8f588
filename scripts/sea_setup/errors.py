"""The one error of `make setup`, and what a failed installer's output means."""

from __future__ import annotations

from pathlib import Path

_NETWORK_SIGNS = (
    "failed to establish a new connection",
    "newconnectionerror",
    "temporary failure in name resolution",
    "name or service not known",
    "network is unreachable",
    "connection refused",
    "dns error",
    "tcp connect error",
    "error sending request",
    "client error (connect)",
    "connecttimeout",
    "operation timed out",
)
_TAIL_LINES = 12


class SetupError(Exception):
    """Something is missing; the message is a sentence that says what to do."""


def explain(what: str, output: str, log: Path) -> SetupError:
    """The error for an installer that failed, from what it printed."""
    lowered = output.lower()
    tail = "\n".join(output.splitlines()[-_TAIL_LINES:])
    if any(sign in lowered for sign in _NETWORK_SIGNS):
        return SetupError(
            f"{what} needs the Python package index, which cannot be reached; connect to the "
            "network, or set PIP_INDEX_URL (and PIP_CERT) to an index that you can reach, and run "
            f"`make setup` again (details: {log})."
        )
    if "no space left" in lowered:
        return SetupError(
            f"{what} filled the disk; free 15 GB, or put this checkout and UV_CACHE_DIR on a "
            f"larger disk, and run `make setup` again (details: {log})."
        )
    return SetupError(f"{what} failed; the end of {log}:\n{tail}")
