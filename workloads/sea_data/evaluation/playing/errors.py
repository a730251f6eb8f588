"""What stops an evaluation from the command line; what stops one episode is in its record."""


class EvaluationError(RuntimeError):
    """A sentence for the user: what is wrong, where, what to do."""


class EndpointUselessError(EvaluationError):
    """Episode after episode ends without a verdict: going on would only waste requests."""


class ContextFullError(RuntimeError):
    """The dialogue doesn't fit into the model's context any more: the agent's failure."""
