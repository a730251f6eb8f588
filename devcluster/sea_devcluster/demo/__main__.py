"""`python -m sea_devcluster.demo`."""

import sys

from sea_devcluster.demo.main import demo
from sea_devcluster.demo.options import parse

if __name__ == "__main__":
    sys.exit(0 if demo(parse()) is not None else 1)
