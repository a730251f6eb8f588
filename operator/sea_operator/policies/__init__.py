"""One decision per file, pure, each with a table test of the same name."""
