"""What Django calls when the application starts: the settings become surefoot's, and connections are kept fresh."""

import os

from django.apps import AppConfig
from django.conf import ENVIRONMENT_VARIABLE, settings

from surefoot.client.store import configure
from surefoot.execution.outfit import errands, fittings
from surefoot.integrations.django.connections import fresh
from surefoot.integrations.django.settings import SETTING, read


class SurefootConfig(AppConfig):  # type: ignore[misc]  # Django is untyped
    """Says to surefoot what the settings say, and to its workers what to do around each job. Opens nothing."""

    name = "surefoot.integrations.django"
    label = "surefoot"
    verbose_name = "surefoot"

    def ready(self) -> None:
        """Once, when all applications are loaded."""
        said = read(getattr(settings, SETTING, {}))
        configure(url=said.url, namespace=said.namespace)
        if fresh not in fittings:
            fittings.append(fresh)
        if os.environ.get(ENVIRONMENT_VARIABLE):  # else whoever gave Django its settings does so in a child too
            errands["django:setup"] = {}
