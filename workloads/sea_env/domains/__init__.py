"""The worlds that agents act in: databases, tools, policies. Pure, synchronous, no I/O.

An episode opens an `Environment` over a shared `Database` and keeps only what it changed.
"""
