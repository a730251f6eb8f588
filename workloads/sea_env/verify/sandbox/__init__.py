"""Runs verification functions, which are code from a data set, so that they harm only themselves.

    rollout worker --frames--> process under bubblewrap (`inside.zygote`, holds databases, waits)
                                   `-- fork per function (`inside.child`): resource limits, then a
                                       seccomp filter that leaves memory, clocks and one pipe

Two walls: bubblewrap gives a file system with nothing but a read-only Python, no network and its
own PID namespace; the filter inside takes away all system calls that open, connect or start
anything. In a container that can't create namespaces (most clusters), the filter alone has the same
effect; without either, functions are refused.
"""
