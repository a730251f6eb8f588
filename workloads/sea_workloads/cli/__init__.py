"""`sea`: data and models from the command line, without a cluster."""

from sea_workloads.cli.app import main

__all__ = ["main"]
