"""How weights travel from trainer ranks to engines: layout of a shard, NIXL reads."""
