"""Checkpoints: sharded state -> local files -> S3 -> one conditional write that commits.

`state` says what is saved, `writer` stages and writes it, `saver` runs a save through its phases
beside training, `head` decides commits (pure), `commit` writes them, `restore` loads the newest.
"""
