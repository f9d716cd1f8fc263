#!/usr/bin/env python3
"""Django's command line for streamsite."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from streamsite.security.file_modes import narrow_umask


def main() -> None:
    narrow_umask()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streamsite.settings")
    try:
        if sys.argv[1:2] == ["run_cluster"]:
            select_cluster(*sys.argv[2:3])
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        # A wrong setting is the operator's to mend: one sentence, no traceback.
        sys.exit(f"streamsite can't start: {wrong}")


def select_cluster(kind: str = "") -> None:
    """Names the cluster before django-q2 is loaded: it reads the name then, and only there."""
    if kind in settings.CLUSTERS:
        os.environ["Q_CLUSTER_NAME"] = settings.CLUSTERS[kind]


if __name__ == "__main__":
    main()
