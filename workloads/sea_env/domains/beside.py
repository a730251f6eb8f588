"""What a domain brings besides its class: functions in modules that lie beside it.

`world.py` holds `make` (generated worlds), `workshop.py` holds `open_workshop` (procedural tasks).
Both may also be in the module of the class itself.
"""

import importlib
import types
from collections.abc import Callable
from typing import Any

from sea_env.domains.base import Domain
from sea_env.domains.installed import BrokenDomainError


def places(domain: Domain, module: str) -> tuple[str, ...]:
    """Modules that are looked through, in order."""
    home = type(domain).__module__
    package = home.rpartition(".")[0]
    return (f"{package}.{module}", home) if package else (home,)


def find(domain: Domain, module: str, function: str) -> Callable[..., Any] | None:
    """The function, or None where no such module has it.

    Raises BrokenDomainError where the module is there and can't be imported.
    """
    found = (getattr(_imported(place), function, None) for place in places(domain, module))
    return next((one for one in found if one is not None), None)


def _imported(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return None
        raise BrokenDomainError(f"The module {name} doesn't load: {error!r}. Fix it.") from error
