"""Errors of the demo: a sentence for the terminal, never a traceback."""


class DemoError(Exception):
    """The demo can't go on; the message says what was wrong and what to do."""
