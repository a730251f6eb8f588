"""Domains: the databases, tools and policies that agents act in. Pure, synchronous, no I/O.

    registry -> Domain -> parse(file) -> Database -> open -> Environment (one per episode)

All episodes of a database share it; an `Environment` keeps only the records it changed.
"""
