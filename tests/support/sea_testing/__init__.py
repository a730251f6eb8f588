"""Real parts that tests of several folders start: an engine, trainer ranks, a publisher."""
