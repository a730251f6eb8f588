"""What the readers and writers of data files need of an object store.

`sea_runtime.store` implements it with S3; everything here works without it on local files.
"""
