"""`make setup`: builds everything that the demo and the tests need, inside this checkout.

    bubblewrap -> .tools (uv, Go if the machine has none) -> .venv (packages) -> control plane

Runs under any Python from 3.9; the environment itself is made with Python 3.11, 3.12 or 3.13. The
second run takes a second. Variables that it honors:

    SEA_PYTHON             interpreter for .venv
    SEA_TORCH              `lock` (default: the build in the lock), `cpu` (PyTorch's CPU build, 3 GB
                           less), or unset: a torch wheel in PIP_FIND_LINKS if there is one
    SEA_CONTROLPLANE_BIN   folder of a control plane's programs, instead of building them
    PIP_*, UV_*, GOPROXY   where packages come from
"""

import sys

if sys.version_info < (3, 9):  # noqa: UP036  it starts under whatever Python is there
    sys.exit("make setup needs Python 3.9 or newer to start; run `python3.11 scripts/setup.py`.")

from sea_setup.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
