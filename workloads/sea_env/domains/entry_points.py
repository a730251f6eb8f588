"""Domains of installed packages: entry points of the group `sea_env.domains`, by full name.

A domain's full name is `PACKAGE:NAME`: the distribution's name as PEP 503 normalizes it, and the
entry point's. A package is imported only when one of its domains is requested.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points

from sea_api.v1alpha1.domains import bare, package
from sea_env.domains.base import Domain
from sea_env.errors import EnvError

GROUP = "sea_env.domains"

_MEMBERS = (
    "tools",
    "user_tools",
    "assertions",
    "functions",
    "max_bad_turns",
    "policy_file",
    "system_prompt",
    "parse",
    "open",
)


class UnknownDomainError(EnvError):
    """A name that no domain has."""


class BrokenDomainError(UnknownDomainError):
    """An installed package's entry point that can't be loaded, or that isn't a domain."""


@cache
def points() -> Mapping[str, EntryPoint]:
    """All entry points by full name; `points.cache_clear()` makes the next call read them again."""
    return {f"{_package(point)}:{point.name}": point for point in entry_points(group=GROUP)}


def find(name: str) -> str | None:
    """The full name of an installed domain, given itself or the bare name; None if not installed.

    Raises UnknownDomainError if several packages have the bare name.
    """
    found = _matching(name)
    if not found:
        # The package may have been installed since the entry points were read.
        points.cache_clear()
        found = _matching(name)
    if len(found) > 1:
        raise UnknownDomainError(
            f"Several packages have a domain {name!r}: use {' or '.join(found)}."
        )
    return found[0] if found else None


def load(full: str) -> Domain:
    """The domain of an installed entry point; raises BrokenDomainError."""
    point = points()[full]
    where = f"The domain {point.name!r} of the Python package {package(full)} ({point.value})"
    try:
        domain: Domain = point.load()()
    except Exception as error:
        raise BrokenDomainError(f"{where} doesn't load: {error!r}. Fix or remove it.") from error
    missing = [part for part in _MEMBERS if not hasattr(domain, part)]
    if missing:
        raise BrokenDomainError(f"{where} isn't a domain: it has no {', '.join(missing)}.")
    if getattr(domain, "name", None) != point.name:
        raise BrokenDomainError(f"{where} must have that very name as its `name`.")
    return domain


def why_missing(full: str) -> str:
    """Why a full name can't be found: a clause; the caller appends what to use instead."""
    wanted = package(full)
    try:
        distribution(wanted)
    except PackageNotFoundError:
        return (
            f"The domain {full} needs the Python package {wanted}, which is not installed here; "
            "install it, or"
        )
    has = sorted(bare(name) for name in points() if package(name) == wanted)
    return (
        f"The Python package {wanted} is installed here, but brings no domain {bare(full)!r}: its "
        f"entry points of the group {GROUP} are {', '.join(has) or 'none'};"
    )


def _matching(name: str) -> list[str]:
    return sorted(full for full in points() if name in (full, bare(full)))


def _package(point: EntryPoint) -> str:
    assert point.dist is not None, "importlib.metadata sets it on every entry point it reads"
    return re.sub(r"[-_.]+", "-", point.dist.name).lower()
