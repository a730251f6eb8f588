"""Workers by domain. Adding one means adding a line here."""

from collections.abc import Callable

from sea_workloads.domains.base import Domain
from sea_workloads.domains.database import Database
from sea_workloads.domains.registry import UnknownDomainError
from sea_workloads.synthesis.procedural.airline.workshop import AirlineWorkshop
from sea_workloads.synthesis.procedural.retail.workshop import RetailWorkshop
from sea_workloads.synthesis.procedural.shop import ShopWorkshop
from sea_workloads.synthesis.procedural.telecom.workshop import TelecomWorkshop
from sea_workloads.synthesis.proposal import Workshop

_WORKSHOPS: dict[str, Callable[[Domain, Database], Workshop]] = {
    "airline": AirlineWorkshop,
    "retail": RetailWorkshop,
    "shop": ShopWorkshop,
    "telecom": TelecomWorkshop,
}


def names() -> list[str]:
    """Domains that need no model, sorted."""
    return sorted(_WORKSHOPS)


def open_workshop(domain: Domain, database: Database) -> Workshop:
    """The domain's worker over a database; raises UnknownDomainError where there is none."""
    make = _WORKSHOPS.get(domain.name)
    if make is None:
        raise UnknownDomainError(
            f"The domain {domain.name} has no procedural worker ({', '.join(names())} have): "
            "give --endpoint and --model, so that a model makes its tasks."
        )
    return make(domain, database)
