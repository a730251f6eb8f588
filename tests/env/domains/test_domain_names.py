"""Full and bare names: which domain a row means, and what a name becomes in paths."""

import re

import pytest

from sea_api.v1alpha1.domains import BUILT_IN, bare, file_name, package
from sea_env.domains import registry
from sea_env.domains.registry import UnlistedDomainError, resolve_listed

TWO = ["a:library", "b:library"]


def test_the_contract_lists_the_built_in_domains() -> None:
    assert set(BUILT_IN) == set(registry._DOMAINS)


@pytest.mark.parametrize(
    ("said", "listed", "found"),
    [
        ("retail", ["retail", "shop"], "retail"),
        ("retail", ["tau2:retail"], "tau2:retail"),
        ("retail", ["tau2:retail", "retail"], "retail"),
        ("tau2:retail", ["tau2:retail", "retail"], "tau2:retail"),
        ("library", ["shop", "my-library:library"], "my-library:library"),
        ("b:library", TWO, "b:library"),
    ],
)
def test_a_row_means_the_listed_domain(said: str, listed: list[str], found: str) -> None:
    assert resolve_listed(said, listed) == found


@pytest.mark.parametrize(
    ("said", "listed", "sentence"),
    [
        ("mars", ["shop", "retail"], "'mars', but spec.domains lists retail, shop. Add the domain"),
        ("tau2:retail", ["retail"], "'tau2:retail', but spec.domains lists retail."),
        ("library", TWO, "a:library and b:library of spec.domains have that name. Write the full"),
        ("a", TWO, "'a', but spec.domains lists a:library, b:library."),
        ("", TWO, "the domain ''"),
    ],
)
def test_a_row_of_an_unlisted_domain_is_refused(
    said: str, listed: list[str], sentence: str
) -> None:
    with pytest.raises(UnlistedDomainError, match=re.escape(sentence)):
        resolve_listed(said, listed)


@pytest.mark.parametrize(
    ("name", "parts", "file"),
    [
        ("retail", ("", "retail"), "retail"),
        ("tau2:retail", ("tau2", "retail"), "tau2.retail"),
        ("my-library:my_desk", ("my-library", "my_desk"), "my-library.my_desk"),
    ],
)
def test_a_name_has_a_package_a_bare_name_and_a_file_name(
    name: str, parts: tuple[str, str], file: str
) -> None:
    assert (package(name), bare(name)) == parts
    assert file_name(name) == file
