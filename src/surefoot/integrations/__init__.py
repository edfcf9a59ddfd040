"""Where surefoot meets other libraries. One package each; none is imported unless the application asks for it."""
