"""How asking a chat endpoint fails. `permanent` says that asking again would cure nothing."""

from sea_env.errors import EnvError


class EndpointError(EnvError):
    """The endpoint gives no usable answer: which one, and what it did instead."""

    permanent = False


class RateLimitedError(EndpointError):
    """It is asked too often (429), or says for how long it is busy."""

    def __init__(self, sentence: str, pause_s: float | None) -> None:
        super().__init__(sentence)
        self.pause_s = pause_s
        """Seconds that the server asks for; None if it doesn't say."""


class RefusedError(EndpointError):
    """It refuses the request permanently (a wrong key, an unknown model)."""

    permanent = True


class ContextFullError(RefusedError):
    """The prompt no longer fits the model's context."""


class UnreadableTurnError(EndpointError):
    """The model wrote a call that the server can't read, and the server answered an error."""

    def __init__(self, sentence: str, said: str) -> None:
        super().__init__(sentence)
        self.said = said
        """The server's own words."""


class UnparsedTurnError(EndpointError):
    """The server's parser failed on what the model wrote; nobody can tell whose mistake it was."""
