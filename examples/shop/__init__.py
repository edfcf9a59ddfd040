"""An application in modules, whose producers never import the code that does the work.

Run it:   surefoot worker shop.worker:worker        and in another terminal
          python -m shop.checkout
One sees  the worker say which queues and tasks it serves; the checkout get an invoice number from it; and then a mail.

queues.py   makes the queues and imports nothing of the application
api.py      declares the tasks: what producers may ask for
handlers.py implements them
worker.py   puts the worker together; nobody imports it
checkout.py a producer: it imports api.py and nothing more
"""
