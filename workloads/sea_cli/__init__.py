"""`sea`: data and models from the command line, without a cluster."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """`app.main`; the import takes a second in which a Ctrl-C is no reason for a traceback."""
    try:
        from sea_cli import app
    except KeyboardInterrupt:
        sys.stderr.write("\nsea: interrupted.\n")
        return 130
    return app.main(arguments)


__all__ = ["main"]
