#!/usr/bin/env python3
"""Django's command line for streamsite."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from streamsite.security.file_modes import narrow_umask


def main() -> None:
    narrow_umask()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streamsite.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        # A wrong setting is the operator's to mend: one sentence, no traceback.
        sys.exit(f"streamsite can't start: {wrong}")


if __name__ == "__main__":
    main()
