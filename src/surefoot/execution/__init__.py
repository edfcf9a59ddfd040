"""Floor 2: runs user code and says what came of it. Knows no store."""
