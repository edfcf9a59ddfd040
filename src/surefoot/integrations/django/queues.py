"""The queues of Django's tasks, for a worker: `manage.py surefoot worker surefoot.integrations.django.queues`.

Every backend of the setting TASKS that is surefoot's puts its queues here, by their names.
"""

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from surefoot.integrations.django.interface import task_backends
from surefoot.integrations.django.tasks import SurefootBackend

for _backend in task_backends.all():
    if isinstance(_backend, SurefootBackend):
        globals().update({queue.name: queue for queue in _backend.surefoot_queues})
