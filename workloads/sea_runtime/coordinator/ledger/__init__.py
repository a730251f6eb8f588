"""The ledger: the life of every trajectory group, in one SQLite file, written by one process."""
