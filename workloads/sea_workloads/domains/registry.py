"""Domains by name. Adding one means adding a line here."""

from collections.abc import Callable
from functools import cache

from sea_workloads.domains.airline.domain import Airline
from sea_workloads.domains.base import Domain
from sea_workloads.domains.mock.domain import Mock
from sea_workloads.domains.retail.domain import Retail
from sea_workloads.domains.shop.domain import Shop
from sea_workloads.domains.telecom.domain import Telecom

_DOMAINS: dict[str, Callable[[], Domain]] = {
    "airline": Airline,
    "mock": Mock,
    "retail": Retail,
    "shop": Shop,
    "telecom": Telecom,
}


class UnknownDomainError(ValueError):
    """A name that no domain has."""


@cache
def get(name: str) -> Domain:
    """The domain of that name; raises UnknownDomainError naming those that exist."""
    if name not in _DOMAINS:
        raise UnknownDomainError(
            f"There is no domain {name!r}; use one of {', '.join(sorted(_DOMAINS))}."
        )
    return _DOMAINS[name]()


def names() -> list[str]:
    """All domains, sorted."""
    return sorted(_DOMAINS)
