"""Files of the published layout -> tasks and dialogues. Pure: bytes in, values or errors out.

`rl` reads task rows, `sft` reads dialogue rows, `paths` keeps `db_path` inside the data root.
"""
