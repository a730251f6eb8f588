"""Default limits of episodes, of the models that take part in them, and of verification functions.

The resource's models take their defaults from here; so do the messages on the wire, and the
environments and the command line, which run without a resource too.
"""

CONTEXT_LENGTH = 32768
"""Longest token sequence of one episode: prompt and answers of all turns."""

MAX_TOKENS_PER_TURN = 8192
"""Tokens of an agent's turn."""
MAX_TURNS = 50
"""Agent turns of one episode."""
MAX_REPEATS = 3
"""Identical calls with identical results in a row; they end an episode as a loop."""

MAX_EPISODES = 128
"""Episodes that one rollout engine plays at a time."""

USER_MAX_TOKENS = 2048
"""Longest turn of the user model."""
JUDGE_MAX_TOKENS = 2048
"""Longest verdict of a judge, its reasoning included."""
REQUEST_TIMEOUT_SECONDS = 120
"""One request to an OpenAI-compatible endpoint."""

FUNCTION_CPU_SECONDS = 2
FUNCTION_TIMEOUT_SECONDS = 30
"""Generous next to the CPU time, since a busy node must not cost a reward."""
FUNCTION_MEMORY_BYTES = 512 << 20
"""Address space on top of what the sandbox holds before the function runs."""
MIN_FUNCTION_MEMORY_BYTES = 64 << 20
