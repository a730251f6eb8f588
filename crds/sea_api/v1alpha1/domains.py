"""Names of domains: built-in ones are bare words, all others name their Python package.

    retail                 built in
    my-library:library     the entry point `library` of the installed distribution `my-library`
    tau2:retail            tau2-bench's own `retail`, where tau2-bench is installed

Without the package, a typo in a built-in name could not be told from another package's domain
before the pods run. File names and object keys have a `.` in place of the colon.
"""

import re
from typing import Annotated

from pydantic import Field

from sea_api.v1alpha1.rules import Rule

BUILT_IN = ("airline", "mock", "retail", "shop", "telecom")
LONGEST = 128
_FORM = f"^({'|'.join(BUILT_IN)}|[a-z0-9]+(-[a-z0-9]+)*:[a-z0-9]([a-z0-9_-]*[a-z0-9])?)$"
"""A package's name is spelled as PEP 503 normalizes it, so it holds neither `.` nor `:`."""

KNOWN_OR_QUALIFIED = Rule(
    cel=f"self.matches('{_FORM}')",
    message=f"a domain is one of {', '.join(BUILT_IN)}, or one of an installed Python package as"
    " PACKAGE:NAME in lower case (my-library:library, tau2:retail): correct the name",
    holds=lambda name: re.fullmatch(_FORM, name) is not None,
)

Domain = Annotated[str, Field(max_length=LONGEST), KNOWN_OR_QUALIFIED]


def package(name: str) -> str:
    """Python package of a qualified name; empty for a built-in one."""
    return name.rpartition(":")[0]


def bare(name: str) -> str:
    """The name within its package: `library` of `my-library:library`."""
    return name.rpartition(":")[2]


def file_name(name: str) -> str:
    """The name as part of a path or key; unique per domain."""
    return name.replace(":", ".")
