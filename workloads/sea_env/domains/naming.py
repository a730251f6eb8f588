"""Which of the listed domains a row means: rows may say `library` for `my-library:library`."""

from collections.abc import Collection

from sea_api.v1alpha1.domains import bare


class UnlistedDomainError(ValueError):
    """A row names a domain that isn't listed, or one that several listed ones are called."""


def meant(said: str, listed: Collection[str]) -> str:
    """The listed name itself, or else the only listed one of another package with that bare name.

    So published rows of `retail` go to our own `retail` where it is listed, to `tau2:retail` where
    only that is. Raises UnlistedDomainError.
    """
    if said in listed:
        return said
    found = sorted(name for name in listed if bare(name) == said)
    if len(found) > 1:
        raise UnlistedDomainError(
            f"the row names the domain '{said}', and {' and '.join(found)} of spec.domains are "
            "called so. Write the full name into the row."
        )
    if not found:
        raise UnlistedDomainError(
            f"the row belongs to the domain '{said}', but spec.domains lists "
            f"{', '.join(sorted(listed))}. Add the domain there or remove the row."
        )
    return found[0]
