"""Checkpoints: a rank's share of the state -> a copy on the host -> S3 -> one conditional write.

`state` says what a rank saves and loads, `staging` owns the memory for the copy, `index` describes
the bytes that are stored, `saver` runs a save through its phases next to training, `commit` writes
`head.json` by `head`'s pure decisions and removes what was never committed. `restore` loads the
newest checkpoint: `reshard` plans which ranges a rank needs, `reader` reads and checks them.
"""
