"""How weights travel from trainer ranks to engines: a shard's layout in memory, and NIXL reads."""
