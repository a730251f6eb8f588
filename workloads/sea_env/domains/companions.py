"""A domain's companions: functions in modules next to the module of its class.

`database_generator.py` holds `generate_database`, `task_generator.py` holds `open_task_generator`
(tasks without a model). Both may also be in the module of the class itself. So a package brings
them along without an entry point for each.
"""

import importlib
import types
from collections.abc import Callable
from typing import Any

from sea_env.domains.base import Domain
from sea_env.domains.entry_points import BrokenDomainError


def places(domain: Domain, module: str) -> tuple[str, ...]:
    """Names of the modules that are searched, in order."""
    home = type(domain).__module__
    package = home.rpartition(".")[0]
    # Next to `tau2_plugin` are the modules that all domains share, none of which is a companion.
    own = package not in ("", __package__)
    return (f"{package}.{module}", home) if own else (home,)


def find(domain: Domain, module: str, function: str) -> Callable[..., Any] | None:
    """The function, or None if no such module has it.

    Raises BrokenDomainError if the module exists and can't be imported.
    """
    found = (getattr(_imported(place), function, None) for place in places(domain, module))
    return next((one for one in found if one is not None), None)


def _imported(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except Exception as error:
        # Only the companion itself may be absent; a missing import inside it is its fault.
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return None
        raise BrokenDomainError(f"The module {name} doesn't load: {error!r}. Fix it.") from error
