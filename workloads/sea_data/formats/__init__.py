"""The published file layout: rows and database files -> tasks and dialogues, and back.

`data_files` opens local and S3 files, plain or compressed; `jsonl` splits them into rows. `rl`
reads task rows, `sft` selects dialogue rows to train on, `database_files` keeps `db_path` inside
the data root. `shop_dataset` and `tau2_convert` write data sets.
"""
