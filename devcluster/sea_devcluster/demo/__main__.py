"""`python -m sea_devcluster.demo`."""

import sys

if __name__ == "__main__":
    try:
        from sea_devcluster.demo.main import demo
        from sea_devcluster.demo.options import parse

        sys.exit(0 if demo(parse()) is not None else 1)
    except KeyboardInterrupt:  # while the imports took their seconds
        sys.exit("Stopped.")
