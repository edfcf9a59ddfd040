"""`surefoot doctor`: looks at a store and its queues, says what is not fit and the way out, and repairs if it is told.

Without --repair it changes nothing.
"""

from surefoot.cli.doctor.command import doctor as doctor
