"""One adapter a queue, all of one shape (frame.py), each run by the Python or Node of its own environment."""
