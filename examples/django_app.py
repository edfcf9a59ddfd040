"""Django: a job is enqueued when its transaction commits. If it rolls back, there is no job.

Run it:   python django_app.py
One sees  ann, who signs up, and a job that waits for her; bob, whose sign-up is rolled back, and no job for him; and
          what the worker says to ann. Here it runs in the same process until nothing is left to do; on a site it is
          `python manage.py surefoot worker shop.jobs:accounts`.
"""

import secrets

import django
from django.conf import settings
from django.core.management import call_command
from django.db import transaction

from surefoot import JobHandle, Queue, Worker
from surefoot.integrations.django import on_commit

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "surefoot.integrations.django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "accounts.db"}},
    SUREFOOT={"url": "sqlite:///jobs.db"},
)
django.setup()

accounts = Queue(name="accounts")  # its store is the one of the settings


@accounts.task
def welcome(user_id: int) -> str:
    from django.contrib.auth.models import User  # models can be imported after setup()

    return f"welcome {User.objects.get(pk=user_id).username}"


def sign_up(name: str, *, paid: bool) -> JobHandle[str]:
    from django.contrib.auth.models import User

    with transaction.atomic():
        user = User.objects.create_user(f"{name}-{secrets.token_hex(4)}")
        job = on_commit(welcome.draft(user.pk))  # its id is known now; it is stored when the block ends well
        if not paid:
            raise PermissionError(f"{user.username} has not paid: nothing is kept")
    return job


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    job = sign_up("ann", paid=True)
    print(f"ann's job {job.id} is {job.status_sync()}")
    try:
        sign_up("bob", paid=False)
    except PermissionError as refused:
        print(refused)
    print(f"jobs that wait: {accounts.stats_sync().pending}")
    Worker(accounts).run(burst=True)
    print(job.result_sync())
