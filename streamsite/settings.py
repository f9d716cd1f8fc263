"""Settings of streamsite. All of them come from the environment: see .env.example."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from environ import Env

from streamsite import __version__
from streamsite.env import LOG_LEVELS, Environment, kept, new_django_key, new_field_key
from streamsite.logs import logging_config
from streamsite.secret import Secret

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(BASE_DIR)

# ---- where things are ------------------------------------------------------------------------
DATA_DIR = env.folder("DATA_DIR", BASE_DIR / "data")


def _default_run_dir() -> Path:
    # tmpfs: segments are written and deleted every two seconds. The name is the same at every
    # start of this checkout, so that a new supervisor finds what the last one left running.
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK):
        return DATA_DIR / "run"
    name = hashlib.sha256(str(DATA_DIR).encode()).hexdigest()[:10]
    return shm / f"streamsite-{os.getuid()}-{name}"


RUN_DIR = env.folder("RUN_DIR", _default_run_dir())
NODE_NAME = env.text("NODE_NAME") or socket.gethostname()

# ---- Django ----------------------------------------------------------------------------------
DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.text("SECRET_KEY") or kept(DATA_DIR / "secret_key", new_django_key)
FIELD_KEYS = env.words("FIELD_KEYS") or [kept(DATA_DIR / "field_key", new_field_key)]
for _key in FIELD_KEYS:
    try:
        Fernet(_key)
    except ValueError:
        raise ImproperlyConfigured(
            "FIELD_KEYS holds something that is no key: each must be 32 bytes in base64. Make one "
            "with: python -c 'from cryptography.fernet import Fernet as F; "
            "print(F.generate_key().decode())'"
        ) from None

ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]", socket.gethostname())
)
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
BEHIND_TLS = env.flag("BEHIND_TLS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "ninja",
    "streamsite",
    "media_library",
    "streams",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "streamsite.urls"
WSGI_APPLICATION = "streamsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = env.text("TIME_ZONE", "UTC")
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = env.folder("STATIC_ROOT", DATA_DIR / "static")
LOGIN_URL = "admin:login"

# ---- database --------------------------------------------------------------------------------
# django-environ takes a bare word for an SQLite file; ask for a scheme, so that a slip is told.
_database_url = env.text("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'streamsite.sqlite3'}"
if not _database_url.startswith(("sqlite://", "postgres://", "postgresql://")):
    raise ImproperlyConfigured(
        "DATABASE_URL must begin with sqlite:/// or postgres://, for example "
        "postgres://user:password@127.0.0.1:5432/streamsite."
    )
_database: dict[str, Any] = dict(Env.db_url_config(_database_url))
_database["CONN_MAX_AGE"] = 60
if _database["ENGINE"].endswith("sqlite3"):
    # Without IMMEDIATE, 2-8 % of writes fail under load: a transaction that began as a reader
    # can't wait for the writer's lock.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DATABASES = {"default": _database}

# ---- storage ---------------------------------------------------------------------------------
STORAGE_PROVIDER = env.choice("STORAGE_PROVIDER", "local", ("local", "cloudflare", "aws"))
STORAGE_BUCKET = env.text("STORAGE_BUCKET")
STORAGE_REGION = env.text("STORAGE_REGION")
STORAGE_ENDPOINT_URL = env.text("STORAGE_ENDPOINT_URL")
STORAGE_ACCESS_KEY_ID = env.text("STORAGE_ACCESS_KEY_ID")
STORAGE_SECRET_ACCESS_KEY = Secret(env.text("STORAGE_SECRET_ACCESS_KEY"))
#: The folder of STORAGE_PROVIDER=local.
MEDIA_ROOT = env.folder("MEDIA_FOLDER", DATA_DIR / "media")
if STORAGE_PROVIDER != "local":
    for _name in ("STORAGE_BUCKET", "STORAGE_ACCESS_KEY_ID", "STORAGE_SECRET_ACCESS_KEY"):
        if not env.text(_name):
            raise ImproperlyConfigured(
                f"{_name} is empty, but STORAGE_PROVIDER is {STORAGE_PROVIDER}: set it, or set "
                "STORAGE_PROVIDER to local to play from a folder."
            )
    if STORAGE_PROVIDER == "cloudflare" and not STORAGE_ENDPOINT_URL:
        raise ImproperlyConfigured(
            "STORAGE_ENDPOINT_URL is empty, but STORAGE_PROVIDER is cloudflare: set it to the "
            "address R2 shows for your account, https://<ACCOUNT>.r2.cloudflarestorage.com."
        )
STORAGES = {
    "default": {"BACKEND": "media_library.storage.open_storage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG or "test" in sys.argv[0]
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# ---- playout ---------------------------------------------------------------------------------
FFMPEG_PATH = env.text("FFMPEG_PATH") or "ffmpeg"
#: ffprobe comes with FFmpeg: the one beside it, or the one on the path.
FFPROBE_PATH = (
    str(Path(FFMPEG_PATH).with_name("ffprobe")) if "/" in FFMPEG_PATH else "ffprobe"
)
FFMPEG_FOUND = shutil.which(FFMPEG_PATH) is not None
WORKER_RETRY_DELAY = env.whole("WORKER_RETRY_DELAY", 30, 1, 3600)
WORKER_MAX_RETRIES = env.whole("WORKER_MAX_RETRIES", 3, 1, 1000)
WORKER_GIVE_UP = env.flag("WORKER_GIVE_UP", default=False)
YOUTUBE_RTMP_URL = env.text("YOUTUBE_RTMP_URL") or "rtmps://a.rtmps.youtube.com:443/live2"
YOUTUBE_STREAM_KEY = Secret(env.text("YOUTUBE_STREAM_KEY"))

# ---- queue -----------------------------------------------------------------------------------
NODE_CLUSTER = f"node-{NODE_NAME}"
Q_BROKER_URL = env.text("Q_BROKER_URL")
if Q_BROKER_URL and not Q_BROKER_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured(
        "Q_BROKER_URL must begin with redis:// or be empty (the queue then lives in the database)."
    )
Q_CLUSTER: dict[str, Any] = {
    "name": "streamsite",
    "workers": 3,
    "timeout": 3600,
    "retry": 7200,
    "max_attempts": 3,
    "queue_limit": 3,
    "poll": 0.5,
    "guard_cycle": 1,
    "catch_up": False,
    "recycle": 200,
    "save_limit": 500,
    "label": "Jobs",
    "ALT_CLUSTERS": {
        # One worker for the node's supervisor: it runs as long as the node does.
        NODE_CLUSTER: {
            "workers": 1,
            "timeout": None,
            "retry": 2147483647,
            "recycle": 1,
            "queue_limit": 1,
            "scheduler": False,
            "poll": 0.2,
        }
    },
}
Q_CLUSTER |= {"redis": Q_BROKER_URL} if Q_BROKER_URL else {"orm": "default"}

# ---- logs ------------------------------------------------------------------------------------
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", LOG_LEVELS)
LOG_FORMAT = env.choice("LOG_FORMAT", "auto", ("auto", "json", "console"))
LOGGING = logging_config(LOG_LEVEL, LOG_FORMAT)
LOGGING_CONFIG = "streamsite.logs.configure"
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True

VERSION = __version__
