"""Errors of the domains: one tree, permanent until somebody changes the data or the packages."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

from sea_env import domains
from sea_env.errors import EnvError


def defined_errors() -> Iterator[type[Exception]]:
    """Exception classes that modules of sea_env.domains define."""
    for found in pkgutil.walk_packages(domains.__path__, f"{domains.__name__}."):
        for _, kind in inspect.getmembers(importlib.import_module(found.name), inspect.isclass):
            if issubclass(kind, Exception) and kind.__module__ == found.name:
                yield kind


def test_every_error_is_a_permanent_env_error() -> None:
    kinds = list(defined_errors())
    assert {"DatabaseError", "InitialStateError", "ToolError", "UnknownDomainError"} <= {
        kind.__name__ for kind in kinds
    }
    for kind in kinds:
        assert issubclass(kind, EnvError), kind
        assert kind.permanent, kind
