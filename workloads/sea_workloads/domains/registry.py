"""Domains by name: ours, and those that installed packages bring along.

A package of its own joins by an entry point, without a change here:

    [project.entry-points."sea_workloads.domains"]
    library = "my_package.library:Library"

`sea data`, synthesis, training and evaluation find it by that name. See docs/adding-a-domain.md.
tau2-bench itself, where it is installed, has the names `tau2:airline`, `tau2:retail`, ...
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from sea_workloads.domains import tau2_plugin
from sea_workloads.domains.airline.domain import Airline
from sea_workloads.domains.base import Domain
from sea_workloads.domains.mock.domain import Mock
from sea_workloads.domains.retail.domain import Retail
from sea_workloads.domains.shop.domain import Shop
from sea_workloads.domains.telecom.domain import Telecom

GROUP = "sea_workloads.domains"

_DOMAINS: dict[str, Callable[[], Domain]] = {
    "airline": Airline,
    "mock": Mock,
    "retail": Retail,
    "shop": Shop,
    "telecom": Telecom,
}

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
def get(name: str) -> Domain:
    """The domain of that name, made once.

    Raises UnknownDomainError naming those that exist, BrokenDomainError for a package's domain
    that doesn't load. Ours come first: no package can replace one of them.
    """
    if name in _DOMAINS:
        return _DOMAINS[name]()
    if name.startswith(tau2_plugin.PREFIX):
        return _tau2(name)
    point = _installed().get(name)
    if point is None:
        raise UnknownDomainError(f"There is no domain {name!r}; use one of {', '.join(names())}.")
    return _load(point)


def names() -> list[str]:
    """All domains, sorted. Nothing of an installed package is imported for this."""
    return sorted({*_DOMAINS, *_installed()})


def _tau2(name: str) -> Domain:
    try:
        return tau2_plugin.domain(name)
    except tau2_plugin.Tau2UnavailableError as error:
        raise UnknownDomainError(str(error)) from error


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> Domain:
    where = f"The domain {point.name!r} of an installed package ({point.value})"
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
