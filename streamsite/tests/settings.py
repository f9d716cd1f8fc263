"""The settings under test: the defaults, whatever the environment and .env of this machine say.

A process that a test starts joins the test's folders, for it inherits their names. Tests that
run side by side (pytest-xdist) have folders of their own.
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

_root = Path(__file__).parents[2]
_MARK = f"streamsite-tests-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-"

if _MARK not in os.environ.get("DATA_DIR", ""):
    _example = (_root / ".env.example").read_text()
    for _name in re.findall(r"^#?([A-Z_]+)=", _example, re.MULTILINE):
        if _name != "FFMPEG_PATH":
            os.environ.pop(_name, None)
    _folder = tempfile.mkdtemp(prefix=_MARK)
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    # PostgreSQL in the place of a file: deploy/test.sh --postgres starts one.
    if _url := os.environ.get("TEST_DATABASE_URL"):
        os.environ["DATABASE_URL"] = _url
    os.environ.update(ENV_FILE=os.devnull, DATA_DIR=f"{_folder}/data", RUN_DIR=f"{_folder}/run")

from streamsite.settings import *  # noqa: E402, F403 - after the environment is chosen
from streamsite.settings import DATA_DIR, DATABASES, STATIC_ROOT, STORAGES  # noqa: E402 - after the environment is chosen

# A file, as in production: clusters that a test starts open the same one.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
else:
    # The database that conftest.py has migrated: PostgreSQL copies it.
    DATABASES["default"]["TEST"] = {"TEMPLATE": DATABASES["default"]["NAME"]}
STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
# The real one takes 0.3 s a login on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
