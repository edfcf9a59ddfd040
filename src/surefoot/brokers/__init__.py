"""Floor 2: the border to the stores. The only code that knows SQLite or Redis; everybody else says verbs."""
