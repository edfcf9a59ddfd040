"""The command line: what a person or a script asks of a queue from a shell. It decides nothing about jobs."""
