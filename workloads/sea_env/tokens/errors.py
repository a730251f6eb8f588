"""Errors of this package that reach a user."""


class UnsuitableTokenizerError(ValueError):
    """No turn can be framed with this folder's tokenizer or chat template."""
