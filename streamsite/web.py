"""gunicorn's configuration: `python -m gunicorn --config python:streamsite.web`."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.urls import get_resolver

from streamsite.processes.parent_death import die_with_parent
from streamsite.processes.run_dir import end_without
from streamsite.security.file_modes import narrow_umask
from streamsite.security.urls import place, shown

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter

narrow_umask()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streamsite.settings")
try:
    from streamsite import settings
except ImproperlyConfigured as wrong:
    sys.exit(f"streamsite can't start: {wrong}")


wsgi_app = "streamsite.asgi:application"
# Loaded once, before the port opens, and shared by the workers.
preload_app = True
proc_name = "streamsite-web"
bind = place(settings.HOST, settings.PORT)
worker_class = "streamsite.http.gunicorn_worker.Worker"
# Pages and API run in Python threads, of which one at a time computes: with one worker the
# ingest server's question waits behind a page (p99 89 ms instead of 15 at 200 a second).
workers = 2
# Seconds that requests in progress have to finish at a stop: a busy machine takes longer than
# two for a page. Streams are ended at once, so that the next server need not wait for them.
graceful_timeout = 10
timeout = 60
# The bound of one worker; more connections are closed at once. Open streams have 2,000 of them.
worker_connections = 3000
# Bytes of what a WebSocket says to us, which nobody listens to.
websocket_max_message_size = 65536
control_socket_disable = True
# Trusted senders of X-Forwarded-Proto: nginx, over its socket or from this machine.
forwarded_allow_ips = "127.0.0.1,::1"
logconfig_dict = settings.LOGGING


def when_ready(arbiter: Arbiter) -> None:
    """Called when the port is open: the address works from here on. No worker runs yet."""
    settle_memory()
    # systemd may have opened another one for us.
    if any(isinstance(listener.cfg_addr, tuple) for listener in arbiter.LISTENERS):
        print(f"streamsite: open {shown(settings.HOST, settings.PORT)}", flush=True)  # noqa: T201 - the address, on the terminal


def post_fork(arbiter: Arbiter, worker: Any) -> None:
    """A worker whose master was killed would hold the port."""
    die_with_parent(signal.SIGKILL, parent=arbiter.pid)


def post_worker_init(worker: Any) -> None:
    signal_ready()
    # An import at the top would load the site before its settings are checked.
    endpoints = sys.modules["streamsite.asgi"].endpoints

    def stop() -> None:
        worker.handle_exit_signal()
        endpoints.close()

    worker.loop.add_signal_handler(signal.SIGTERM, stop)
    end_without(settings.RUN_DIR, worker.loop, worker.ppid)
    # Seconds. A loop that waits for the interpreter's lock gets it from a page that computes
    # after so long, and each answer passes through the loop three times.
    sys.setswitchinterval(0.001)


def signal_ready() -> None:
    """Signals `serve`, which starts the clusters then. A later worker signals nobody."""
    if fd := os.environ.get("STREAMSITE_READY_FD"):
        with suppress(OSError):
            os.write(int(fd), b"1")


def settle_memory() -> None:
    """Take what is loaded out of the garbage collection: it stays for ever, in shared memory.

    A walk through all of it held up every twentieth page of the library by 0.13 s.
    """
    # Loads what the first page would load, the admin's forms and templates among it.
    list(get_resolver().url_patterns)
    # No worker may share a connection to the database.
    connections.close_all()
    gc.collect()
    gc.freeze()
    # A page of a list makes some ten thousand objects that are gone with it: the usual 700 make
    # the collector walk through them a dozen times on the way. But a request leaves some 200 in
    # cycles, and who takes away 20,000 of them at once holds up all others for 15 to 70 ms.
    gc.set_threshold(5_000, 20, 20)
