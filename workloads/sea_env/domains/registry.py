"""Domains by name: ours, and those that installed packages bring along.

A package of its own joins by an entry point, without a change here:

    [project.entry-points."sea_env.domains"]
    library = "my_package.library:Library"

A job finds it as `my-package:library` (PACKAGE:NAME); the commands of `sea` also take `library`
alone. See docs/adding-a-domain.md. tau2-bench itself, where it is installed, has the names
`tau2:airline`, `tau2:retail`, ...
"""

from functools import cache

from sea_api.v1alpha1.domains import bare
from sea_env.domains import installed, tau2_plugin
from sea_env.domains.airline.domain import Airline
from sea_env.domains.base import Domain
from sea_env.domains.installed import GROUP, BrokenDomainError, UnknownDomainError
from sea_env.domains.mock.domain import Mock
from sea_env.domains.retail.domain import Retail
from sea_env.domains.shop.domain import Shop
from sea_env.domains.telecom.domain import Telecom

__all__ = [
    "GROUP",
    "BrokenDomainError",
    "UnknownDomainError",
    "forget",
    "full_name",
    "get",
    "is_ours",
    "names",
]

_DOMAINS: dict[str, type[Domain]] = {
    "airline": Airline,
    "mock": Mock,
    "retail": Retail,
    "shop": Shop,
    "telecom": Telecom,
}


@cache
def get(name: str) -> Domain:
    """The domain of that name, made once, whether it is asked for by full or by bare name.

    Raises UnknownDomainError naming those that exist, BrokenDomainError for a package's domain
    that doesn't load. Ours come first: no package can replace one of them.
    """
    if name in _DOMAINS:
        return _DOMAINS[name]()
    if name.startswith(tau2_plugin.PREFIX):
        return _tau2(name)
    full = installed.find(name)
    if full is None:
        reason = installed.why_not(name) if ":" in name else f"There is no domain {name!r};"
        raise UnknownDomainError(f"{reason} use one of {', '.join(names())}.")
    return installed.load(full) if name == full else get(full)


def names() -> list[str]:
    """All domains by full name, sorted. Nothing of an installed package is imported for this."""
    return sorted({*_DOMAINS, *installed.points()})


def is_ours(domain: Domain) -> bool:
    """Whether it is built in; a package may bring one of the same `name`."""
    return type(domain) is _DOMAINS.get(domain.name)


def full_name(domain: Domain) -> str:
    """`PACKAGE:NAME` of another package's domain, the name of ours."""
    if is_ours(domain) or domain.name.startswith(tau2_plugin.PREFIX):
        return domain.name
    own = (full for full in installed.points() if bare(full) == domain.name)
    return next((full for full in own if _opens(full, domain)), domain.name)


def forget() -> None:
    """Looks at the installed packages anew."""
    installed.points.cache_clear()
    get.cache_clear()


def _opens(name: str, domain: Domain) -> bool:
    try:
        return get(name) is domain
    except UnknownDomainError:
        return False


def _tau2(name: str) -> Domain:
    try:
        return tau2_plugin.domain(name)
    except tau2_plugin.Tau2UnavailableError as error:
        raise UnknownDomainError(str(error)) from error
