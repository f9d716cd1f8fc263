"""The settings under test, over the database that a test has made."""

import os

from streamsite.tests.settings import *  # noqa: F403 - after the environment is chosen
from streamsite.tests.settings import DATABASES

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE"]
