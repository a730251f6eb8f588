"""uv does not read pip's settings: this turns them into uv's, so that one configuration serves.

Sources, later ones win: pip's configuration files, its PIP_* variables. What the user has set for
uv itself wins over both.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^(global|install|:env:)\.([\w-]+)='(.*)'$")
_ORDER = {"global": 0, "install": 1, ":env:": 2}
# pip's option: variable of uv, or of everyone.
_SAME_MEANING = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "proxy": "ALL_PROXY",
}
_OLDER_NAMES = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}


@dataclass(frozen=True)
class PipSettings:
    """Where packages come from, in uv's words."""

    environment: dict[str, str]
    find_links: tuple[str, ...]
    """Folders or pages with wheels; folders that do not exist are left out."""

    def arguments(self) -> list[str]:
        """uv's `--find-links` arguments."""
        return [part for place in self.find_links for part in ("--find-links", place)]


def read(python: Path) -> dict[str, str]:
    """pip's options of this machine, from `pip config list`; empty where there is no pip."""
    command = [str(python), "-m", "pip", "config", "list"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse(done.stdout)


def parse(listing: str) -> dict[str, str]:
    """Options by name, from the text of `pip config list`."""
    matches = [match for line in listing.splitlines() if (match := _LINE.match(line.strip()))]
    matches.sort(key=lambda match: _ORDER[match[1]])
    return {match[2]: match[3].replace("\\n", " ").strip() for match in matches}


def translate(options: Mapping[str, str], environ: Mapping[str, str]) -> PipSettings:
    """uv's variables for pip's options.

    Args:
        options: pip's options, see `parse`.
        environ: The environment; uv's own variables in it are respected.
    """
    variables: dict[str, str] = {}
    for option, variable in _SAME_MEANING.items():
        value = options.get(option, "")
        if value and variable not in environ and _OLDER_NAMES.get(variable, "") not in environ:
            variables[variable] = value
    if "UV_INDEX" in variables and "UV_INDEX_STRATEGY" not in environ:
        # pip takes the best of all indexes; with hashes locked that is safe for uv too.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if options.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        variables["UV_NO_INDEX"] = "1"
    places = options.get("find-links", "").split()
    return PipSettings(variables, tuple(place for place in places if _exists(place)))


def _exists(place: str) -> bool:
    return "://" in place or Path(place).expanduser().exists()
