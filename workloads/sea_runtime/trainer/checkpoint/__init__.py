"""Checkpoints: sharded state -> local files -> S3 -> one conditional write that commits.

`state` says what is saved, `writer` stages and writes it, `saver` runs a save through its phases
next to training, `commit` writes `head.json` by `head`'s pure decisions, `restore` loads the newest
checkpoint, `abandoned` removes what was never committed.
"""
