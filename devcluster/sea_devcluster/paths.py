"""Where the devcluster stores files: the user's XDG folders, nothing inside the checkout."""

import os
from pathlib import Path

from sea_devcluster.errors import DevclusterError


def _xdg(variable: str, fallback: str) -> Path:
    value = os.environ.get(variable, "")
    # The XDG specification tells programs to ignore relative values.
    base = Path(value) if value.startswith("/") else _home(variable) / fallback
    return base / "sea-operator"


def _home(variable: str) -> Path:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd, as in some containers
        raise DevclusterError(
            f"This user has no home folder; set HOME or {variable} to a folder that you can write."
        ) from None


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/sea-operator`: files that may be deleted at any time."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_root() -> Path:
    """`$XDG_STATE_HOME/sea-operator/devclusters`: one folder per running cluster."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "devclusters"


def module_folder() -> Path:
    """`devcluster/controlplane`: the Go module that pins the control plane."""
    return Path(__file__).resolve().parents[1] / "controlplane"


def private_folder(path: Path) -> Path:
    """Creates `path` for this user alone: such folders contain keys and tokens."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def write_private(path: Path, content: bytes | str) -> Path:
    """Writes a file that only this user can read, replacing what was there in one step."""
    data = content.encode() if isinstance(content, str) else content
    # In the same folder: rename is atomic within one file system only. The PID keeps two writers
    # apart.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    # Created with its mode: a chmod afterwards would leave a moment in which others can read a key.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        # No fsync: after a loss of power the file may be empty, which `records.load_json` reports.
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)  # a partial file, on a full disk
        raise OSError(error.errno, error.strerror, str(path)) from error
    return path
