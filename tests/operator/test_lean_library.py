"""The operator's process loads the login of the kubernetes library without its models."""

import subprocess
import sys

PROGRAM = """
import sys
{first}
import kopf
from sea_operator.kube.connection import Configuration, load_kube_config
from sea_operator.policies.drift import quantity
assert quantity("1Gi") == 2**30
print(len([name for name in sys.modules if name.startswith("kubernetes.client.models.")]))
{last}
"""
LEAN = "from sea_operator.kube import lean_library\nlean_library.install()"
OIDC = """
from kubernetes.config import kube_config
client = kube_config.ApiClient()
assert callable(client.request), client
from kubernetes.client import V1Pod
"""
TWICE = """
from kubernetes.config import kube_config
assert type(kube_config.ApiClient()) is type(kube_config.ApiClient())
"""


def models(first: str, last: str = "") -> int:
    """Modules of API objects that a process has loaded."""
    program = PROGRAM.format(first=first, last=last)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[0])


def test_no_model_is_loaded() -> None:
    assert models(LEAN) == 0


def test_a_login_that_needs_the_whole_library_gets_it() -> None:
    assert models(LEAN, OIDC) == 0


def test_a_second_renewal_loads_nothing_again() -> None:
    assert models(LEAN, TWICE) == 0


def test_the_workaround_is_still_needed() -> None:
    assert models("") > 500


def test_a_library_that_is_loaded_already_stays() -> None:
    assert models(f"import kubernetes\n{LEAN}") > 500
