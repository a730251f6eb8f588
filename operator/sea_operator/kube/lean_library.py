"""Workaround for kubernetes 36.0.3: a process that needs its login alone loads all of its models.

`import kubernetes` executes some 900 modules of API objects, which neither the operator nor kopf
uses: about a third of the operator's memory, and most of its start. `install` puts empty packages
in place of those whose `__init__` loads everything; the modules below them load as ever. Called
first of all by `__main__`. `tests/operator/test_lean_library.py` says when it is no longer needed.
"""

import functools
import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

SHELLS = ("kubernetes", "kubernetes.client", "kubernetes.utils")
"""Packages whose own code isn't executed."""


def install() -> None:
    """Does nothing if the library is there already, or isn't installed."""
    found = importlib.util.find_spec("kubernetes")
    if "kubernetes" in sys.modules or found is None or not found.submodule_search_locations:
        return
    (root,) = found.submodule_search_locations
    for name in SHELLS:
        shell = ModuleType(name)
        shell.__path__ = ["/".join([root, *name.split(".")[1:]])]
        sys.modules[name] = shell
    client = sys.modules["kubernetes.client"]
    vars(sys.modules["kubernetes"])["client"] = client
    configuration = importlib.import_module("kubernetes.client.configuration")
    vars(client).update(Configuration=configuration.Configuration, ApiClient=_whole_client)


def _whole_client(*arguments: Any, **named: Any) -> Any:
    """An `ApiClient` of the whole library: a kubeconfig with OpenID Connect renews tokens by it."""
    # Logins of several threads may need it at one time, and a half-loaded library is none.
    with _loading:
        client = _whole()
    return client.ApiClient(*arguments, **named)


_loading = threading.Lock()


@functools.cache
def _whole() -> ModuleType:
    """`kubernetes.client` with its models; loaded once, not with each renewal."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
        del sys.modules[name]
    return importlib.import_module("kubernetes.client")
