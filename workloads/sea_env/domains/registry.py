"""Domains by name: the built-in ones, and those of installed packages.

A package adds a domain by an entry point, without a change here:

    [project.entry-points."sea_env.domains"]
    library = "my_package.library:Library"

A job names it `my-package:library` (PACKAGE:NAME); the commands of `sea` also accept `library`
alone. See docs/adding-a-domain.md. If tau2-bench itself is installed, its domains are
`tau2:airline`, `tau2:retail`, ...
"""

from collections.abc import Collection
from functools import cache

from sea_api.v1alpha1.domains import bare
from sea_env.domains import entry_points, tau2_plugin
from sea_env.domains.airline.domain import Airline
from sea_env.domains.base import Domain
from sea_env.domains.entry_points import GROUP, BrokenDomainError, UnknownDomainError
from sea_env.domains.mock.domain import Mock
from sea_env.domains.retail.domain import Retail
from sea_env.domains.shop.domain import Shop
from sea_env.domains.telecom.domain import Telecom
from sea_env.domains.tool_domain import ToolDomain
from sea_env.errors import EnvError

__all__ = [
    "GROUP",
    "BrokenDomainError",
    "UnknownDomainError",
    "UnlistedDomainError",
    "forget",
    "full_name",
    "get",
    "is_built_in",
    "names",
    "resolve_listed",
]

_DOMAINS: dict[str, type[ToolDomain]] = {
    "airline": Airline,
    "mock": Mock,
    "retail": Retail,
    "shop": Shop,
    "telecom": Telecom,
}


class UnlistedDomainError(EnvError):
    """A row names a domain that isn't listed, or a bare name that several listed ones have."""


@cache
def get(name: str) -> Domain:
    """The domain of that name, one instance per process for its full and its bare name.

    Raises UnknownDomainError naming those that exist, BrokenDomainError for a package's domain
    that doesn't load.
    """
    # Built-in names come first, so that no package can replace one of them.
    if name in _DOMAINS:
        return _DOMAINS[name]()
    if name.startswith(tau2_plugin.PREFIX):
        return tau2_plugin.domain(name)
    full = entry_points.find(name)
    if full is None:
        reason = entry_points.why_missing(name) if ":" in name else f"There is no domain {name!r};"
        raise UnknownDomainError(f"{reason} use one of {', '.join(names())}.")
    # By the full name through the cache: one instance for both names.
    return entry_points.load(full) if name == full else get(full)


def names() -> list[str]:
    """All domains by full name, sorted; this imports no installed package."""
    return sorted({*_DOMAINS, *entry_points.points()})


def is_built_in(domain: Domain) -> bool:
    """Whether it is one of this package; an installed package may have one of the same `name`."""
    return type(domain) is _DOMAINS.get(domain.name)


def full_name(domain: Domain) -> str:
    """`PACKAGE:NAME` of an installed package's domain, the name of a built-in one."""
    if is_built_in(domain) or domain.name.startswith(tau2_plugin.PREFIX):
        return domain.name
    own = (full for full in entry_points.points() if bare(full) == domain.name)
    return next((full for full in own if _opens(full, domain)), domain.name)


def resolve_listed(name: str, listed: Collection[str]) -> str:
    """Which of the listed domains a row's domain name means.

    That is the listed name itself, or else the only listed one of a package with that bare name:
    published rows of `retail` belong to the built-in `retail` if it is listed, to `tau2:retail` if
    only that is. Raises UnlistedDomainError.
    """
    if name in listed:
        return name
    found = sorted(full for full in listed if bare(full) == name)
    if len(found) > 1:
        raise UnlistedDomainError(
            f"the row names the domain '{name}', and {' and '.join(found)} of spec.domains have "
            "that name. Write the full name into the row."
        )
    if not found:
        raise UnlistedDomainError(
            f"the row belongs to the domain '{name}', but spec.domains lists "
            f"{', '.join(sorted(listed))}. Add the domain there or remove the row."
        )
    return found[0]


def forget() -> None:
    """Drops all cached domains; the next call reads the installed packages again."""
    entry_points.points.cache_clear()
    get.cache_clear()


def _opens(name: str, domain: Domain) -> bool:
    try:
        return get(name) is domain
    except UnknownDomainError:
        return False
