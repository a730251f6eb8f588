"""Runs verification functions, which are code of a data set, so that they can only hurt themselves.

    rollout worker --frames--> process under bubblewrap (`inside.zygote`, holds databases, waits)
                                   `-- fork per function (`inside.child`): resource limits, then a
                                       seccomp filter that leaves memory, clocks and one pipe

Two walls: bubblewrap gives an empty file system but for a read-only Python, no network and a PID
namespace of its own; the filter inside takes away all system calls that open, connect or start
anything. Where a container may not make namespaces (most clusters), the filter alone has the same
effect; where there is neither, functions are refused.
"""
