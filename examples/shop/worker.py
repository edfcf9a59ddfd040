"""The worker of the shop: which queues, which modules, how much at once. Nobody imports this module."""

from shop.queues import billing, mail
from surefoot import Worker

worker = Worker(mail, billing, imports=["shop.handlers"], concurrency=20, weights={billing: 3})
