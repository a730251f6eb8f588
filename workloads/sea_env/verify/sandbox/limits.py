"""What one verification function may use."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class FunctionLimits:
    """Limits of one run. A function that exceeds one has judged its episode: 0."""

    cpu_s: int = 2
    """Processor time in whole seconds (RLIMIT_CPU)."""
    wall_s: float = 30.0
    """Time on the clock; generous, since a busy machine must not cost a reward."""
    memory_bytes: int = 512 * 1024 * 1024
    """Address space (RLIMIT_AS) on top of what the process holds when the function starts."""
    output_bytes: int = 64 * 1024
    """Of the verdict with its reason, and of what the function prints."""

    def as_arguments(self) -> dict[str, float]:
        """As the process inside takes them."""
        return asdict(self)
