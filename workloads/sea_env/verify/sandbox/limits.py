"""What one verification function may use."""

from dataclasses import asdict, dataclass

from sea_api import limits


@dataclass(frozen=True)
class FunctionLimits:
    """Limits of one run, `spec.verifier.functions` in the sandbox's units.

    A function that exceeds one has judged its episode: 0.
    """

    cpu_s: int = limits.FUNCTION_CPU_SECONDS
    """Processor time in whole seconds (RLIMIT_CPU)."""
    wall_s: float = float(limits.FUNCTION_TIMEOUT_SECONDS)
    """Time on the clock; generous, since a busy machine must not cost a reward."""
    memory_bytes: int = limits.FUNCTION_MEMORY_BYTES
    """Address space (RLIMIT_AS) on top of what the process holds when the function starts."""
    output_bytes: int = 64 * 1024
    """Most bytes of the verdict with its reason, and of what the function prints."""

    def as_arguments(self) -> dict[str, float]:
        """As the process inside takes them."""
        return asdict(self)
