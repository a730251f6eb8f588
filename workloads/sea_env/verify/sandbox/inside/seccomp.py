"""A system call filter that leaves a Python process its memory, its clocks and its open files.

seccomp(2) in filter mode with `no_new_privs`, which any process may set for itself, also in a
container. Any call that isn't listed fails with EPERM: opening, connecting, starting, signaling.
"""

import ctypes
import errno
import platform
import struct

_PR_SET_SECCOMP, _FILTER = 22, 2
_PR_SET_NO_NEW_PRIVS = 38
# SECCOMP_RET_KILL_PROCESS, _ERRNO (the number in the low 16 bits) and _ALLOW of linux/seccomp.h.
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
"""BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K of linux/bpf_common.h."""
_NUMBER, _ARCHITECTURE = 0, 4
"""Offsets in struct seccomp_data."""

NAMES = (
    *("read", "write", "close", "mmap", "mprotect", "munmap", "brk", "mremap", "madvise"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "futex", "sched_yield"),
    *("getpid", "gettid", "exit", "exit_group", "restart_syscall", "getrandom"),
    *("gettimeofday", "clock_gettime", "clock_getres"),
)
"""What is allowed, in the order of the numbers below."""

_X86_64 = (0, 1, 3, 9, 10, 11, 12, 25, 28, 13, 14, 15, 131, 202, 24, 39, 186, 60, 231, 219, 318)
_AARCH64 = (63, 64, 57, 222, 226, 215, 214, 216, 233, 134, 135, 139, 132, 98, 124, 172, 178, 93, 94)
TABLES: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (*_X86_64, 96, 228, 229)),
    "aarch64": (0xC00000B7, (*_AARCH64, 128, 278, 169, 113, 114)),
}
"""Machine -> AUDIT_ARCH_* and the numbers of `NAMES` there."""


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def program(architecture: int, allowed: tuple[int, ...]) -> bytes:
    """The filter as struct sock_filter[]: the architecture must fit, the number must be listed."""
    count = len(allowed)
    # The architecture first: on x86-64 a 32-bit call has other numbers and would slip through.
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    lines.append((_LOAD, 0, 0, _NUMBER))
    # Jumps are relative to the next instruction: a match skips the rest of the list and the ERRNO.
    lines += [(_EQUAL, count - i, 0, number) for i, number in enumerate(allowed)]
    lines += [(_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def install() -> None:
    """Filters this thread and all it will ever start; it can't be undone.

    Raises OSError if the machine or the kernel doesn't support it.
    """
    machine = platform.machine()
    if machine not in TABLES:
        raise OSError(errno.ENOSYS, f"no filter is written for the machine {machine}")
    # Kept in a variable: the kernel reads through a bare address, which keeps nothing alive.
    lines = ctypes.create_string_buffer(program(*TABLES[machine]))
    loaded = _Program(len(lines.raw) // 8, ctypes.addressof(lines))
    libc = ctypes.CDLL(None, use_errno=True)
    # no_new_privs first: without it the kernel refuses a filter from an unprivileged process.
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0), (_PR_SET_SECCOMP, _FILTER, loaded)):
        option, value, pointer = arguments
        given = ctypes.byref(pointer) if isinstance(pointer, _Program) else pointer
        # prctl is variadic: a plain int would leave the upper half of the register undefined.
        if libc.prctl(option, ctypes.c_ulong(value), given, 0, 0):
            raise OSError(ctypes.get_errno(), "the kernel refuses a seccomp filter")
