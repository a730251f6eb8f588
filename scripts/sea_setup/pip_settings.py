"""uv does not read pip's settings: translates them into uv's, so that one configuration is enough.

In order of increasing precedence: pip's configuration files, its PIP_* variables, uv's variables.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(r"^(global|install|:env:)\.([\w-]+)='(.*)'$")
_ORDER = {"global": 0, "install": 1, ":env:": 2}
_UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
    "proxy": "ALL_PROXY",
}
"""Variable of the same meaning, by pip's option."""


def read(python: Path) -> dict[str, str]:
    """pip's options on this machine, from `pip config list`; empty if there is no pip."""
    command = [str(python), "-m", "pip", "config", "list"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse(done.stdout)


def parse(listing: str) -> dict[str, str]:
    """Options by name, from the output of `pip config list`."""
    matches = [match for line in listing.splitlines() if (match := _LINE.match(line.strip()))]
    matches.sort(key=lambda match: _ORDER[match[1]])
    return {match[2]: match[3].replace("\\n", " ").strip() for match in matches}


def uv_variables(options: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """uv's environment variables for pip's options.

    Args:
        options: pip's options, see `parse`.
        environ: The environment; uv's own variables in it take precedence.
    """
    variables: dict[str, str] = {}
    for option, variable in _UV_VARIABLES.items():
        value = options.get(option, "")
        if value and variable not in environ:
            variables[variable] = value
    if "UV_INDEX" in variables and "UV_INDEX_STRATEGY" not in environ:
        # pip takes the best version of all indexes; with locked hashes that is safe for uv, too.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if options.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        variables["UV_NO_INDEX"] = "1"
    found = [link for link in options.get("find-links", "").split() if _exists(link)]
    if found and "UV_FIND_LINKS" not in environ:
        variables["UV_FIND_LINKS"] = ",".join(found)
    return variables


def _exists(link: str) -> bool:
    """uv refuses a folder that doesn't exist; pip ignores it."""
    return "://" in link or Path(link).expanduser().exists()
