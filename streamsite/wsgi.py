"""The door for gunicorn: `python -m gunicorn --config python:streamsite.web`."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

#: gunicorn's exit status for "the application can't be loaded": its master then stops instead
#: of trying for ever (gunicorn.arbiter.Arbiter.APP_LOAD_ERROR).
APP_LOAD_ERROR = 4

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streamsite.settings")
try:
    application = get_wsgi_application()
except ImproperlyConfigured as wrong:
    print(f"streamsite can't start: {wrong}", file=sys.stderr)  # noqa: T201 - logs need settings
    sys.exit(APP_LOAD_ERROR)
