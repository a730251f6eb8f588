"""The steps of `make setup` that uv doesn't do; standard library only, Python 3.9."""
