"""Workers by domain: ours, and those that other packages have beside their domains."""

from collections.abc import Callable

from sea_data.synthesis.procedural.airline.workshop import AirlineWorkshop
from sea_data.synthesis.procedural.mock.workshop import MockWorkshop
from sea_data.synthesis.procedural.retail.workshop import RetailWorkshop
from sea_data.synthesis.procedural.shop import ShopWorkshop
from sea_data.synthesis.procedural.telecom.workshop import TelecomWorkshop
from sea_data.synthesis.proposal import Workshop
from sea_env.domains import companions, registry
from sea_env.domains.base import Domain
from sea_env.domains.database import Database
from sea_env.domains.registry import UnknownDomainError

Open = Callable[[Domain, Database], Workshop]

_WORKSHOPS: dict[str, Open] = {
    "airline": AirlineWorkshop,
    "mock": MockWorkshop,
    "retail": RetailWorkshop,
    "shop": ShopWorkshop,
    "telecom": TelecomWorkshop,
}


def names() -> list[str]:
    """Built-in domains that need no model, sorted."""
    return sorted(_WORKSHOPS)


def find(domain: Domain) -> Open | None:
    """What opens the domain's worker, `open_workshop` of its package; None where it has none."""
    if registry.is_built_in(domain):
        return _WORKSHOPS.get(domain.name)
    return companions.find(domain, "workshop", "open_workshop")


def open_workshop(domain: Domain, database: Database) -> Workshop:
    """The domain's worker over a database; raises UnknownDomainError where there is none."""
    made = find(domain)
    if made is None:
        raise UnknownDomainError(
            f"The domain {domain.name} has no procedural worker ({', '.join(names())} have): "
            "give --endpoint and --model, so that a model makes its tasks."
        )
    return made(domain, database)
