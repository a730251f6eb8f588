"""The root of what can go wrong with data files and object stores."""

from sea_api.errors import SeaError


class DataError(SeaError):
    """Data that can't be read, written or used; the message names the file or object."""
