"""`python -m sea_devcluster`."""

import sys

if __name__ == "__main__":
    try:
        from sea_devcluster.cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # while the imports took their second
        sys.exit("Interrupted.")
