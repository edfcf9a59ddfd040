"""The queues. Everybody imports this module; it imports nothing of the application."""

from surefoot import Queue

mail = Queue("sqlite:///jobs.db", name="mail")
billing = Queue("sqlite:///jobs.db", name="billing")
