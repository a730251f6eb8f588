"""Checkpoints: sharded state -> local files -> S3 -> one conditional write that commits.

`state` says what is saved, stages and writes it, `saver` runs a save through its phases next to
training, `commit` writes `head.json` by `head`'s pure decisions and removes what was never
committed, `restore` loads the newest checkpoint.
"""
