"""Settings of streamsite. All of them come from the environment: see .env.example."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import re
import socket
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy

from streamsite import __version__
from streamsite.config.env import (
    LOG_LEVELS,
    Environment,
    broker,
    kept,
    made,
    new_django_key,
    new_field_key,
    private,
)
from streamsite.config.logging import logging_config
from streamsite.config.retention import retention
from streamsite.security.urls import is_address, is_loopback

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(BASE_DIR)
#: The file of settings, beside the environment.
SETTINGS_FILE = env.file

# ---- where things are ------------------------------------------------------------------------
DATA_DIR = private(env.folder("DATA_DIR", "data"), "DATA_DIR")


def _default_run_dir() -> Path:
    # tmpfs: segments are written and deleted every two seconds. The name is the same at every
    # start of this checkout, so that a new supervisor finds what the last one left running.
    shm = Path("/dev/shm")  # noqa: S108 - the name below is this user's own
    if not os.access(shm, os.W_OK):
        return DATA_DIR / "run"
    name = hashlib.sha256(str(DATA_DIR).encode()).hexdigest()[:10]
    return shm / f"streamsite-{os.getuid()}-{name}"


RUN_DIR = env.folder("RUN_DIR", otherwise=_default_run_dir())
#: Bytes: what a socket's path (107, unix(7)) leaves beside "/wake.sock".
LONGEST_RUN_DIR = 97
if len(os.fsencode(RUN_DIR)) > LONGEST_RUN_DIR:
    raise ImproperlyConfigured(
        f"RUN_DIR is too long for a socket in it ({RUN_DIR}): set it to a folder whose path "
        f"has at most {LONGEST_RUN_DIR} bytes."
    )
NODE_NAME = env.text("NODE_NAME") or socket.gethostname()


def _channels_of_this_machine() -> int:
    """A channel takes some 2 % of a core and 40 MB, the rest 400 MB (deploy/capacity.md)."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(30 * (os.cpu_count() or 1), (memory - 400_000_000) // 40_000_000))


MAX_CHANNELS = (
    env.whole("MAX_CHANNELS", 0, 0, 10_000, unit="channels") or _channels_of_this_machine()
)

# ---- the address -----------------------------------------------------------------------------
HOST = env.text("HOST", "127.0.0.1")
PORT = env.port("PORT", 8000)

#: True: nobody named the hosts, but other machines are to reach it, so any name is taken.
ANY_HOST = not env.text("ALLOWED_HOSTS") and not is_loopback(HOST)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS") or (
    ["*"] if ANY_HOST else ["localhost", "127.0.0.1", "[::1]", socket.gethostname()]
)

# ---- Django ----------------------------------------------------------------------------------
DEBUG = env.flag("DEBUG", default=False)
DEFAULT_EXCEPTION_REPORTER_FILTER = "streamsite.http.error_pages.ShowNoValues"
SECRET_KEY = env.secret("SECRET_KEY").reveal() or kept(DATA_DIR / "secret_key", new_django_key)
FIELD_KEYS_GIVEN = bool(env.text("FIELD_KEYS"))
FIELD_KEYS = env.keys("FIELD_KEYS", lambda: kept(DATA_DIR / "field_key", new_field_key))
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
BEHIND_TLS = env.flag("BEHIND_TLS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
# A browser that came by HTTPS comes by HTTPS from then on, for a month from its last visit.
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if BEHIND_TLS else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # other names of the domain are not ours to bind to HTTPS
    "security.W008",  # the proxy redirects: Django behind it sees no plain request
    "security.W021",  # nor is it ours to enter the domain in browsers' lists
]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# The page of the API's document has its files there. As an app, django-ninja would be loaded by
# processes that serve no pages: 5 MB each.
_NINJA = Path(str(find_spec("ninja").origin)).parent  # type: ignore[union-attr]  # it is installed

INSTALLED_APPS = [
    "unfold",
    # Without its search for admin.py, which only the pages need: `streamsite.urls`.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django_q",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "corsheaders",
    "csp",
    "django_structlog",
    "streamsite",
    # After streamsite, whose collectstatic goes before its own.
    "django.contrib.staticfiles",
    "media_library",
    "streams",
]
MIDDLEWARE = [
    "streamsite.http.middleware.RealAddressMiddleware",
    "streamsite.http.origin.OriginMiddleware",
    "streamsite.http.middleware.RequestIdMiddleware",
    "streamsite.http.middleware.AllowanceMiddleware",
    "streamsite.http.middleware.ProblemMiddleware",
    "streamsite.security.headers.BodySizeMiddleware",
    "streams.views.callbacks.CallbackMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "streamsite.http.middleware.CompressTextMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "streamsite.security.headers.PolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "streamsite.accounts.sessions.ActivityMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "streamsite.http.middleware.OddFilterMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "streamsite.urls"
WSGI_APPLICATION = "streamsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates", _NINJA / "templates"],
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
FORMAT_MODULE_PATH = "streamsite.config.formats"
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [_NINJA / "static"]
STATIC_ROOT = env.folder("STATIC_ROOT", otherwise=DATA_DIR / "static")
SESSION_ENGINE = "streamsite.accounts.session_store"
#: Seconds without activity after which a login is over.
SESSION_COOKIE_AGE = (
    env.whole("SESSION_IDLE_MINUTES", 12 * 60, 5, 366 * 24 * 60, "minutes") * 60
)
#: Roles whose users must have a second factor; "all": everybody.
SECOND_FACTOR_ROLES = env.words("SECOND_FACTOR_ROLES")
# As `streamsite.accounts.roles` has them.
ROLES = ("Viewer", "Scheduler", "Operator", "Engineer", "Admin")
for _role in SECOND_FACTOR_ROLES:
    if _role not in {"all", *ROLES}:
        raise ImproperlyConfigured(
            f"SECOND_FACTOR_ROLES holds {_role!r}: write all, or roles with commas between, of "
            f"{', '.join(ROLES)}."
        )
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# ---- who may come in -------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "streamsite.accounts.limits.OwnChannelsBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# Five wrong passwords for one name from one address close that pair for a quarter of an hour;
# the name stays open from elsewhere, so that nobody can lock the operator out.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
# A successful login resets the counts; the handler decides about locks.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_HANDLER = "streamsite.api.login_limits.LimitsHandler"
AXES_CLIENT_IP_CALLABLE = "streamsite.api.login_limits.client_network"
AXES_RESET_ON_SUCCESS = True
# The address is the one RealAddressMiddleware settled; a header of the visitor's is not asked.
AXES_IPWARE_PROXY_COUNT = 0
AXES_IPWARE_META_PRECEDENCE_ORDER = ["REMOTE_ADDR"]

#: Requests to the API from one address; each key has a limit of its own besides.
API_REQUESTS_PER_MINUTE = env.whole(
    "API_REQUESTS_PER_MINUTE", 1200, 1, 10_000_000, "requests a minute"
)

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        # hls.js hands the picture to the browser as a blob, and parses it in a worker from one.
        "media-src": [SELF, "blob:"],
        "worker-src": [SELF, "blob:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
#: For pages of the admin's theme: Alpine, which drives unfold's menus, evaluates expressions
#: and sets styles.
THEME_POLICY = CONTENT_SECURITY_POLICY["DIRECTIVES"] | {
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
}
#: Bytes of a form or of JSON, which is held in memory whole. An import of 4 MiB fits, as JSON.
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
#: Sites whose pages may call the API with a key. Nobody's cookie is taken from there.
CORS_ALLOWED_ORIGINS = env.words("CORS_ALLOWED_ORIGINS")
for _origin in CORS_ALLOWED_ORIGINS:
    if not re.fullmatch(r"https?://[^/?#@\s]+", _origin):
        raise ImproperlyConfigured(
            f"CORS_ALLOWED_ORIGINS holds {_origin!r}: write scheme and host of each, such as "
            "https://tv.example.org, with nothing behind."
        )
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = ("accept", "authorization", "content-type", "idempotency-key", "x-api-key")
CORS_EXPOSE_HEADERS = (
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"),
    "X-Request-ID",
)

# ---- database --------------------------------------------------------------------------------
_database = env.database("DATABASE_URL", DATA_DIR / "streamsite.sqlite3")
_database["CONN_MAX_AGE"] = 60
_database["CONN_HEALTH_CHECKS"] = True
if _database["ENGINE"].endswith("sqlite3"):
    # Without IMMEDIATE, 2-8 % of writes fail under load: a transaction that began as a reader
    # can't wait for the writer's lock.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # A server that went away without a word is noticed within seconds, not within hours.
    _database["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    } | _database.get("OPTIONS", {})
DATABASES = {"default": _database}

# ---- storage ---------------------------------------------------------------------------------
STORAGE_PROVIDER = env.choice("STORAGE_PROVIDER", "local", ("local", "cloudflare", "aws"))
STORAGE_BUCKET = env.text("STORAGE_BUCKET")
STORAGE_REGION = env.text("STORAGE_REGION")
STORAGE_ENDPOINT_URL = env.url("STORAGE_ENDPOINT_URL", "", ("https://", "http://")).rstrip("/")
STORAGE_ACCESS_KEY_ID = env.text("STORAGE_ACCESS_KEY_ID")
STORAGE_SECRET_ACCESS_KEY = env.secret("STORAGE_SECRET_ACCESS_KEY")
#: The folder of STORAGE_PROVIDER=local.
MEDIA_ROOT = env.folder("MEDIA_FOLDER", otherwise=DATA_DIR / "media")
if STORAGE_PROVIDER == "local":
    # Not one that was named: it may be a disk that is not mounted.
    if not env.text("MEDIA_FOLDER"):
        made(MEDIA_ROOT, "DATA_DIR")
else:
    for _name, _value in (
        ("STORAGE_BUCKET", STORAGE_BUCKET),
        ("STORAGE_ACCESS_KEY_ID", STORAGE_ACCESS_KEY_ID),
        ("STORAGE_SECRET_ACCESS_KEY", STORAGE_SECRET_ACCESS_KEY),
    ):
        if not _value:
            raise ImproperlyConfigured(
                f"{_name} is empty, but STORAGE_PROVIDER is {STORAGE_PROVIDER}: set it, or set "
                "STORAGE_PROVIDER to local to play from a folder."
            )
    if not re.fullmatch(r"[A-Za-z0-9._-]{3,255}", STORAGE_BUCKET):
        raise ImproperlyConfigured(
            f"STORAGE_BUCKET is {STORAGE_BUCKET!r}, which is no bucket's name: copy the name "
            "alone, without spaces, slashes or an address."
        )
    if set(STORAGE_ENDPOINT_URL) & set("@?#"):
        raise ImproperlyConfigured(
            "STORAGE_ENDPOINT_URL must hold no name, password or parameters: keys belong in "
            "STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY."
        )
    if urlsplit(STORAGE_ENDPOINT_URL).path:
        raise ImproperlyConfigured(
            "STORAGE_ENDPOINT_URL must end after the host: leave out the bucket's name behind "
            "it, which belongs in STORAGE_BUCKET."
        )
    if STORAGE_PROVIDER == "cloudflare" and not STORAGE_ENDPOINT_URL:
        raise ImproperlyConfigured(
            "STORAGE_ENDPOINT_URL is empty, but STORAGE_PROVIDER is cloudflare: set it to the "
            "address R2 shows for your account, https://<ACCOUNT>.r2.cloudflarestorage.com."
        )
#: Minutes from the start of one sync by schedule to the next; 0: never.
SYNC_MINUTES = env.whole("SYNC_MINUTES", 60, 0, 10080, "minutes")
#: Files of other kinds are not taken into the library.
MEDIA_EXTENSIONS = [
    word.lower().lstrip(".")
    for word in env.words(
        "MEDIA_EXTENSIONS",
        "3g2,3gp,asf,avi,flv,m2ts,m4v,mkv,mov,mp4,mpeg,mpg,mts,mxf,ogv,ts,webm,wmv",
    )
]
STORAGES = {
    # Django demands one. The library's is media_library.storage.
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "streamsite.http.static_files.Storage"
    },
}

#: The next items are fetched from the bucket to this folder; 0: none are.
CACHE_DIR = env.folder("CACHE_DIR", otherwise=DATA_DIR / "cache")
CACHE_SIZE_GB = env.whole("CACHE_SIZE_GB", 10, 0, 1_000_000, "GB")

# ---- playout ---------------------------------------------------------------------------------
FFMPEG_PATH = env.text("FFMPEG_PATH", "ffmpeg")
#: ffprobe comes with FFmpeg: the one beside it, or the one on the path.
FFPROBE_PATH = str(Path(FFMPEG_PATH).with_name("ffprobe")) if "/" in FFMPEG_PATH else "ffprobe"
#: nginx sends the preview itself, told by X-Accel-Redirect: /_run/ is the run directory there.
HLS_ACCEL = env.flag("HLS_ACCEL", default=False)
#: The number of the group that may read the preview's folders, for nginx; None: no other group.
HLS_GROUP = env.group("HLS_GROUP")
WORKER_RETRY_DELAY = env.whole("WORKER_RETRY_DELAY", 30, 1, 3600, "seconds")
WORKER_MAX_RETRIES = env.whole("WORKER_MAX_RETRIES", 3, 1, 1000, "failures")
WORKER_GIVE_UP = env.flag("WORKER_GIVE_UP", default=False)
YOUTUBE_RTMP_URL = env.url(
    "YOUTUBE_RTMP_URL", "rtmps://a.rtmps.youtube.com:443/live2", ("rtmp://", "rtmps://")
)

# ---- live: the ingest server -----------------------------------------------------------------
INGEST_SERVER = env.choice("INGEST_SERVER", "none", ("none", "mediamtx", "nginx-rtmp"))
#: Empty: where deploy/ puts it on this machine.
INGEST_API_URL = env.url("INGEST_API_URL", "", ("http://", "https://"))
#: The ingest server shows it with what it tells; nginx-rtmp has it in the address.
INGEST_TOKEN = env.secret("INGEST_TOKEN")
#: Readers on other machines need it. Empty: there are none.
INGEST_READ_TOKEN = env.secret("INGEST_READ_TOKEN")
#: The address at which this machine reads live streams for a channel: MediaMTX by RTSP,
#: nginx-rtmp by RTMP.
INGEST_RTMP_URL = env.url("INGEST_RTMP_URL", "rtmp://127.0.0.1", ("rtmp://", "rtmps://"))
INGEST_RTSP_URL = env.url("INGEST_RTSP_URL", "rtsp://127.0.0.1:8554", ("rtsp://", "rtsps://"))
#: MediaMTX's ports, as its addresses are shown.
INGEST_SRT_PORT = env.port("INGEST_SRT_PORT", 8890)
INGEST_WEBRTC_PORT = env.port("INGEST_WEBRTC_PORT", 8889)
#: A broadcaster who publishes with another of their keys replaces the live stream, instead
#: of being refused.
INGEST_REPLACE = env.flag("INGEST_REPLACE", default=False)
#: The address for broadcasters; srt:// and http:// addresses are made with its host.
PUBLIC_INGEST_URL = env.url("PUBLIC_INGEST_URL", "rtmp://127.0.0.1", ("rtmp://", "rtmps://"))
#: The address for viewers.
PUBLIC_PLAYBACK_URL = env.url(
    "PUBLIC_PLAYBACK_URL", "http://127.0.0.1:8888", ("http://", "https://")
)
for _name, _url in (
    ("INGEST_API_URL", INGEST_API_URL),
    ("INGEST_RTMP_URL", INGEST_RTMP_URL),
    ("INGEST_RTSP_URL", INGEST_RTSP_URL),
    ("PUBLIC_INGEST_URL", PUBLIC_INGEST_URL),
    ("PUBLIC_PLAYBACK_URL", PUBLIC_PLAYBACK_URL),
):
    if _url and (not is_address(_url) or set(_url) & set(";,?#@'\"")):
        raise ImproperlyConfigured(
            f"{_name} can't be read: write scheme, host and port, without the stream's path."
        )
if INGEST_RTSP_URL.startswith("rtsps:") and not is_loopback(
    urlsplit(INGEST_RTSP_URL).hostname or ""
):
    # Tried with 5.1: `tls_verify` does not reach the connection.
    raise ImproperlyConfigured(
        "INGEST_RTSP_URL begins with rtsps://, but FFmpeg verifies no certificate there: who "
        "stands between would get INGEST_READ_TOKEN. Write rtsp://, and lead it through a VPN "
        "or a TLS tunnel such as stunnel where the ingest server is on another machine."
    )
INGEST_RTMP_URL = INGEST_RTMP_URL.rstrip("/")
INGEST_RTSP_URL = INGEST_RTSP_URL.rstrip("/")
PUBLIC_INGEST_URL = PUBLIC_INGEST_URL.rstrip("/")
PUBLIC_PLAYBACK_URL = PUBLIC_PLAYBACK_URL.rstrip("/")
for _name, _secret in (
    ("INGEST_TOKEN", INGEST_TOKEN),
    ("INGEST_READ_TOKEN", INGEST_READ_TOKEN),
):
    if _secret and not re.fullmatch(r"[A-Za-z0-9_-]{16,128}", _secret.reveal()):
        raise ImproperlyConfigured(
            f"{_name} must have 16 to 128 letters, digits, - and _. Make one with: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
if INGEST_SERVER != "none" and not INGEST_TOKEN:
    raise ImproperlyConfigured(
        f"INGEST_TOKEN is empty, but INGEST_SERVER is {INGEST_SERVER}: set it to what stands "
        "in that server's configuration (deploy/live.md)."
    )

# ---- alerts ----------------------------------------------------------------------------------
#: Recipients of upcoming problems, a day ahead. Both empty: only the pages show them.
ALERT_EMAIL = env.words("ALERT_EMAIL")
#: A web address, or one of Apprise's. Its holder may write there.
ALERT_WEBHOOK = env.secret("ALERT_WEBHOOK")
if ALERT_WEBHOOK and not (
    is_address(ALERT_WEBHOOK.reveal())
    if ALERT_WEBHOOK.reveal().startswith(("https:", "http:"))
    else "://" in ALERT_WEBHOOK.reveal()
):
    raise ImproperlyConfigured(
        "ALERT_WEBHOOK can't be read: copy the whole address that the receiver shows."
    )
#: Endpoints of webhooks may be in this machine's own networks.
WEBHOOK_PRIVATE_TARGETS = env.flag("WEBHOOK_PRIVATE_TARGETS", default=False)
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.port("EMAIL_PORT", 25)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
#: Only streamsite.notifications.channels shows it, to the connection.
EMAIL_HOST_PASSWORD = env.secret("EMAIL_HOST_PASSWORD")
EMAIL_SECURITY = env.choice("EMAIL_SECURITY", "none", ("none", "starttls", "tls"))
EMAIL_USE_TLS = EMAIL_SECURITY == "starttls"
EMAIL_USE_SSL = EMAIL_SECURITY == "tls"
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM") or f"streamsite@{socket.gethostname()}"

# ---- the first run ---------------------------------------------------------------------------
#: What `setup_demo` uses up: these names are taken out of the environment of all that stays.
SPENT_NAMES = frozenset({"ADMIN_PASSWORD", "YOUTUBE_STREAM_KEY"})
ADMIN_PASSWORD = env.secret("ADMIN_PASSWORD")
YOUTUBE_STREAM_KEY = env.secret("YOUTUBE_STREAM_KEY")

# ---- library ---------------------------------------------------------------------------------
PREPARE_JOBS = env.whole("PREPARE_JOBS", 0, 0, 64, "items") or max(
    1, (os.cpu_count() or 1) // 2
)
PROBE_JOBS = env.whole("PROBE_JOBS", 1, 1, 64, "items")

# ---- what is removed, and when ---------------------------------------------------------------
try:
    #: Days, by the kinds of deploy/retention.md.
    RETENTION_DAYS = retention(env.words("RETENTION_DAYS"))
except ValueError as _error:
    raise ImproperlyConfigured(f"RETENTION_DAYS can't be used: {_error}.") from None

# ---- backups ---------------------------------------------------------------------------------
#: Where a job puts backups: "folder", "bucket", both or nowhere.
BACKUP_TO = env.words("BACKUP_TO")
BACKUP_HOURS = env.whole("BACKUP_HOURS", 24, 1, 720, "hours")
#: How many are kept in each place.
BACKUP_KEEP = env.whole("BACKUP_KEEP", 7, 1, 1000, "backups")
BACKUP_FOLDER = env.folder("BACKUP_FOLDER", otherwise=DATA_DIR / "backups")
BACKUP_PASSPHRASE = env.secret("BACKUP_PASSPHRASE")
if set(BACKUP_TO) - {"folder", "bucket"}:
    raise ImproperlyConfigured(
        "BACKUP_TO must be folder, bucket, or both with a comma between."
    )
if BACKUP_TO and len(BACKUP_PASSPHRASE.reveal()) < 12:  # noqa: PLR2004 - see backups.archive
    raise ImproperlyConfigured(
        "BACKUP_TO needs BACKUP_PASSPHRASE, of at least 12 characters: keep it elsewhere too, "
        "for no backup can be read without it."
    )
if "bucket" in BACKUP_TO and STORAGE_PROVIDER == "local":
    raise ImproperlyConfigured(
        "BACKUP_TO names the bucket, but STORAGE_PROVIDER is local: take folder."
    )

# ---- downloads -------------------------------------------------------------------------------
#: Downloads at once on this machine.
DOWNLOAD_JOBS = env.whole("DOWNLOAD_JOBS", 2, 1, 16, "downloads")
DOWNLOAD_MAX_GB = env.whole("DOWNLOAD_MAX_GB", 20, 1, 10_000, "GB")
#: Quota of each user and each key, in 30 days; 0: no quota.
DOWNLOAD_QUOTA_GB = env.whole("DOWNLOAD_QUOTA_GB", 0, 0, 1_000_000, "GB")
DOWNLOAD_PORTS = env.ports("DOWNLOAD_PORTS", "80,443,8080,8443")
#: Networks that downloads may reach though they are not of the open internet.
DOWNLOAD_NETWORKS = env.networks("DOWNLOAD_NETWORKS")
#: Premieres that are further away are not waited for.
DOWNLOAD_WAIT_DAYS = env.whole("DOWNLOAD_WAIT_DAYS", 30, 0, 365, "days")
#: A server that speaks LibreTranslate's API: translates subtitles, where people ask for it.
LIBRETRANSLATE_URL = env.url("LIBRETRANSLATE_URL", "", ("https://", "http://"))
LIBRETRANSLATE_KEY = env.secret("LIBRETRANSLATE_KEY")
if set(LIBRETRANSLATE_URL) & set("@?#"):
    raise ImproperlyConfigured(
        "LIBRETRANSLATE_URL must hold no name, password or parameters: the key belongs in "
        "LIBRETRANSLATE_KEY."
    )
#: Updates of yt-dlp take what its makers finished last night.
YTDLP_NIGHTLY = env.flag("YTDLP_NIGHTLY", default=False)

# ---- queue -----------------------------------------------------------------------------------
#: The queue of the supervisor in an earlier version.
FORMER_NODE_CLUSTER = f"node-{NODE_NAME}"
#: Shared by all nodes: whichever has a free worker takes the next download.
DOWNLOADS_CLUSTER = "downloads"
Q_BROKER_URL = env.url("Q_BROKER_URL", "", ("redis://", "rediss://", "unix://", "sqs://"))
Q_CLUSTER: dict[str, Any] = {
    "name": "streamsite",
    "timeout": 3600,
    "retry": 7200,
    "max_attempts": 3,
    "catch_up": False,
    "recycle": 200,
    "save_limit": 500,
    "label": "Jobs",
    "ALT_CLUSTERS": {
        # A download is bounded by itself, and holds no message that could be handed on.
        DOWNLOADS_CLUSTER: {
            "timeout": 2147483646,
            "retry": 2147483647,
            "recycle": 50,
        },
    },
}
#: The queue that names each of the clusters that `run_cluster` takes. `background` does what
#: `jobs` and `downloads` do, in one process.
CLUSTERS = {
    "background": Q_CLUSTER["name"],
    "jobs": Q_CLUSTER["name"],
    "downloads": DOWNLOADS_CLUSTER,
}
Q_CLUSTER |= broker(Q_BROKER_URL)

# ---- logs ------------------------------------------------------------------------------------
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", LOG_LEVELS)
LOG_FORMAT = env.choice("LOG_FORMAT", "auto", ("auto", "json", "console"))
LOGGING = logging_config(LOG_LEVEL, LOG_FORMAT)
LOGGING_CONFIG = "streamsite.config.logging.configure"
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
# The control room asks every second: what went well (304 too) is told at DEBUG only.
DJANGO_STRUCTLOG_STATUS_DEFAULT_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_STATUS_2XX_LOG_LEVEL = logging.DEBUG
# It would believe any X-Forwarded-For.
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False

VERSION = __version__

# ---- metrics for Prometheus ------------------------------------------------------------------
#: The bearer token that may read /metrics.
METRICS_TOKEN = env.secret("METRICS_TOKEN")
#: Readers at these addresses need no token. Both empty: nobody reads it.
METRICS_ADDRESSES = env.words("METRICS_ADDRESSES")
for _network in METRICS_ADDRESSES:
    try:
        ipaddress.ip_network(_network)
    except ValueError:
        raise ImproperlyConfigured(
            f"METRICS_ADDRESSES holds {_network!r}: write addresses such as 127.0.0.1, or "
            "networks such as 10.0.0.0/8."
        ) from None

# ---- the admin's frame -----------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "streamsite",
    "SITE_HEADER": "streamsite",
    "SITE_SUBHEADER": NODE_NAME,
    "SITE_SYMBOL": "live_tv",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _request: static("streams/favicon.svg"),
        }
    ],
    "STYLES": [lambda _request: static("streamsite/admin.css")],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "ACCOUNT": {
        "navigation": [
            {"title": "Your account", "link": reverse_lazy("account")},
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
        ]
    },
    "SIDEBAR": {"show_search": False, "navigation": "streamsite.site.sidebar.navigation"},
}
