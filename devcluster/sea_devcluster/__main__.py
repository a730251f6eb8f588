"""`python -m sea_devcluster`."""

from sea_devcluster.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
