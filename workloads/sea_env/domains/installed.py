"""Domains of other packages: entry points of the group `sea_env.domains`, by full name.

A domain's full name is `PACKAGE:NAME`: the distribution as PEP 503 normalises its name, and the
entry point. Nothing of a package is imported before one of its domains is asked for.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points

from sea_api.v1alpha1.domains import bare, package
from sea_env.domains.base import Domain

GROUP = "sea_env.domains"

_NEEDED = (
    "tools",
    "user_tools",
    "assertions",
    "max_bad_turns",
    "policy_file",
    "system_prompt",
    "parse",
    "open",
)


class UnknownDomainError(ValueError):
    """A name that no domain has."""


class BrokenDomainError(UnknownDomainError):
    """An installed package names a domain that can't be loaded, or that is none."""


@cache
def points() -> Mapping[str, EntryPoint]:
    """All entry points by full name; `points.cache_clear()` looks again."""
    return {f"{_package(point)}:{point.name}": point for point in entry_points(group=GROUP)}


def find(name: str) -> str | None:
    """The full name of an installed domain, from itself or from its bare name.

    Packages may have been installed since the last look, so a name that isn't found is looked for
    again. Raises UnknownDomainError where several packages have the bare name.
    """
    found = _matching(name)
    if not found:
        points.cache_clear()
        found = _matching(name)
    if len(found) > 1:
        raise UnknownDomainError(
            f"Several packages bring a domain {name!r}: use {' or '.join(found)}."
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
    missing = [part for part in _NEEDED if not hasattr(domain, part)]
    if missing:
        raise BrokenDomainError(f"{where} isn't a domain: it has no {', '.join(missing)}.")
    if getattr(domain, "name", None) != point.name:
        raise BrokenDomainError(f"{where} must have that very name as its `name`.")
    return domain


def why_not(full: str) -> str:
    """Why a full name isn't installed, as a sentence that goes on with what to use instead."""
    wanted = package(full)
    try:
        distribution(wanted)
    except PackageNotFoundError:
        return (
            f"The domain {full} needs the Python package {wanted}, which is not installed here; "
            "install it, or"
        )
    brings = sorted(bare(name) for name in points() if package(name) == wanted)
    return (
        f"The Python package {wanted} is installed here, but brings no domain {bare(full)!r}: its "
        f"entry points of the group {GROUP} are {', '.join(brings) or 'none'};"
    )


def _matching(name: str) -> list[str]:
    return sorted(full for full in points() if name in (full, bare(full)))


def _package(point: EntryPoint) -> str:
    assert point.dist is not None, "importlib.metadata knows whose entry point it read"
    return re.sub(r"[-_.]+", "-", point.dist.name).lower()
