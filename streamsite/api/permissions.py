"""The permissions of API keys and staff: one table, a row for each route. Pure.

`python -m streamsite.api.permissions` prints it as deploy/api.md has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class KeyPermission(StrEnum):
    """The permission of a key. Each one includes those before it."""

    READ_ONLY = "READ_ONLY"
    DOWNLOAD = "DOWNLOAD"
    ADMIN = "ADMIN"
    FULL_ACCESS = "FULL_ACCESS"

    def includes(self, other: KeyPermission) -> bool:
        return _RANK[self] >= _RANK[other]


_RANK: Final = {level: rank for rank, level in enumerate(KeyPermission)}


@dataclass(frozen=True, slots=True)
class Rule:
    """The callers of a route: keys with that permission or a higher one, and staff.

    Without a level: everybody, also without a key. Such a route has `auth=None`.
    """

    key_permission: KeyPermission | None
    staff_permission: str


#: The root of the API. The compatibility paths stand at the site's root.
API: Final = "/api/v1/"
FIRST: Final = "/"


def _rows(
    level: KeyPermission | None, permission: str, *routes: str, root: str = API
) -> dict[str, Rule]:
    """Rows of one rule. Routes as `GET channels/{slug}`, below the root."""
    rule = Rule(level, permission)
    parts = (route.partition(" ") for route in routes)
    return {f"{method} {root}{path}": rule for method, _, path in parts}


def _crud(thing: str, path: str, one: str = "{id}", root: str = API) -> dict[str, Rule]:
    """Rows of a kind of thing that is made, changed and deleted."""
    app, _, model = thing.partition(".")
    return {
        **_rows(
            KeyPermission.READ_ONLY,
            f"{app}.view_{model}",
            f"GET {path}",
            f"GET {path}/{one}",
            root=root,
        ),
        **_rows(KeyPermission.ADMIN, f"{app}.add_{model}", f"POST {path}", root=root),
        **_rows(KeyPermission.ADMIN, f"{app}.change_{model}", f"PATCH {path}/{one}", root=root),
        **_rows(
            KeyPermission.ADMIN, f"{app}.delete_{model}", f"DELETE {path}/{one}", root=root
        ),
    }


def _managed(thing: str, path: str, *, change: str) -> dict[str, Rule]:
    """Rows of what only ADMIN sees."""
    app, _, model = thing.partition(".")
    return {
        **_rows(KeyPermission.ADMIN, f"{app}.view_{model}", f"GET {path}"),
        **_rows(KeyPermission.ADMIN, f"{app}.add_{model}", f"POST {path}"),
        **_rows(KeyPermission.ADMIN, f"{app}.change_{model}", f"{change} {path}/{{id}}"),
        **_rows(KeyPermission.ADMIN, f"{app}.delete_{model}", f"DELETE {path}/{{id}}"),
    }


def _live(root: str) -> dict[str, Rule]:
    """Rows of broadcasters, their keys and what is live, which stand in two places."""
    key = "GET stream-keys", "GET stream-keys/{id}"
    return {
        **_crud("streams.broadcaster", "broadcasters", root=root),
        **_rows(KeyPermission.READ_ONLY, "streams.view_streamkey", *key, root=root),
        **_rows(KeyPermission.ADMIN, "streams.add_streamkey", "POST stream-keys", root=root),
        **_rows(
            KeyPermission.ADMIN,
            "streams.change_streamkey",
            "DELETE stream-keys/{id}",
            root=root,
        ),
        **_rows(
            KeyPermission.READ_ONLY,
            "streams.view_livestream",
            "GET streams",
            "GET streams/{id}",
            root=root,
        ),
    }


def _health(root: str) -> dict[str, Rule]:
    """Rows of health, which stand in two places."""
    return {
        **_rows(None, "", "GET health", root=root),
        **_rows(
            KeyPermission.READ_ONLY,
            "streams.view_channel",
            "GET health/detailed",
            "GET health/metrics",
            "GET health/uptime",
            root=root,
        ),
    }


#: A route that is not in it can't be called at all.
TABLE: Final[dict[str, Rule]] = {
    # ---- channels
    **_crud("streams.channel", "channels", "{slug}"),
    **_rows(
        KeyPermission.READ_ONLY,
        "streams.view_channel",
        "GET channels/{slug}/status",
        "GET channels/{slug}/now",
        "GET channels/{slug}/preview.m3u8",
        "GET channels/{slug}/preview/{name}",
        "GET channels/{slug}/hours",
        "GET channels/{slug}/takeover-rights",
        "GET channels/{slug}/events",
        "GET channels/{slug}/programme",
        "GET channels/{slug}/why",
        "GET channels/{slug}/guide.xml",
        "GET channels/{slug}/preflight",
        "GET channels/{slug}/picture.jpg",
        "GET channels/{slug}/logo",
        "GET channels/{slug}/log",
    ),
    **_rows(KeyPermission.READ_ONLY, "streams.view_asrun", "GET channels/{slug}/as-run"),
    **_rows(KeyPermission.READ_ONLY, "streams.view_incident", "GET channels/{slug}/incidents"),
    **_rows(KeyPermission.READ_ONLY, "streams.view_run", "GET runs", "GET runs/{id}"),
    **_rows(
        KeyPermission.ADMIN,
        "streams.operate_channel",
        "POST channels/{slug}/start",
        "POST channels/{slug}/stop",
        "POST channels/{slug}/restart",
        "POST channels/{slug}/skip",
        "POST channels/{slug}/take",
        "POST channels/{slug}/return",
        "POST channels/{slug}/release",
    ),
    **_rows(KeyPermission.READ_ONLY, "streams.view_takeover", "GET channels/{slug}/takeovers"),
    **_rows(
        KeyPermission.ADMIN,
        "streams.change_channel",
        "PUT channels/{slug}/hours",
        "PUT channels/{slug}/takeover-rights",
        "PUT channels/{slug}/logo",
        "DELETE channels/{slug}/logo",
    ),
    **_rows(KeyPermission.ADMIN, "streams.add_block", "POST channels/{slug}/copy-week"),
    **_rows(
        KeyPermission.READ_ONLY,
        "streams.view_upcomingproblem",
        "GET upcoming-problems",
        "GET forewarnings",
    ),
    **_rows(KeyPermission.READ_ONLY, "streams.view_node", "GET nodes"),
    **_crud("streams.output", "outputs"),
    **_crud("streams.block", "blocks"),
    # ---- the library
    **_crud("media_library.playlist", "playlists"),
    **_rows(
        KeyPermission.READ_ONLY,
        "media_library.view_playlist",
        "GET playlists/{id}/entries",
        "GET playlists/{id}/export",
    ),
    **_rows(
        KeyPermission.ADMIN,
        "media_library.change_playlist",
        "PUT playlists/{id}/entries",
        "POST playlists/{id}/entries",
    ),
    **_crud("media_library.mediaitem", "media"),
    **_rows(
        KeyPermission.READ_ONLY, "media_library.view_mediaitem", "GET media/{id}/thumb.jpg"
    ),
    **_rows(
        KeyPermission.ADMIN,
        "media_library.change_mediaitem",
        "POST media/{id}/prepare",
        "POST media/{id}/retry",
        "POST media/{id}/cancel",
        "POST media/{id}/look-again",
        "POST playlists/import",
    ),
    **_rows(
        KeyPermission.ADMIN,
        "media_library.add_mediaitem",
        "POST media/uploads",
        "POST media/uploads/part-url",
        "PUT media/uploads/parts/{number}",
        "POST media/uploads/finish",
        "POST media/uploads/abort",
    ),
    **_crud("media_library.tag", "tags"),
    **_rows(
        KeyPermission.READ_ONLY, "media_library.view_syncrun", "GET syncs", "GET syncs/{id}"
    ),
    **_rows(KeyPermission.ADMIN, "media_library.add_syncrun", "POST syncs"),
    **_rows(KeyPermission.ADMIN, "media_library.view_syncrun", "POST storage/test"),
    # ---- downloads: a key of level DOWNLOAD has its own, others have all
    **_rows(
        KeyPermission.DOWNLOAD,
        "media_library.view_downloadjob",
        "GET status/{id}",
        "GET jobs",
        "GET jobs/{id}/file",
        "GET jobs/{id}/events",
        "GET statistics",
    ),
    **_rows(
        KeyPermission.DOWNLOAD,
        "media_library.add_downloadjob",
        "POST download",
        "POST download/batch",
        "GET info",
    ),
    # Covers all sites and everybody's downloads.
    **_rows(KeyPermission.ADMIN, "media_library.view_downloadjob", "GET downloads/health"),
    **_rows(
        KeyPermission.DOWNLOAD,
        "media_library.change_downloadjob",
        "POST retry/{id}",
        "POST cancel/{id}",
        "POST cancel/batch/{id}",
    ),
    # Their set-up: quotas, accounts, the version of yt-dlp.
    **_managed("media_library.downloadschedule", "download-schedules", change="PATCH"),
    **_managed("media_library.sitecookies", "site-cookies", change="PUT"),
    **_rows(
        KeyPermission.ADMIN,
        "media_library.view_downloadschedule",
        "GET download-schedules/{id}",
    ),
    **_rows(KeyPermission.ADMIN, "media_library.delete_downloadjob", "DELETE jobs/{id}"),
    **_rows(
        KeyPermission.ADMIN,
        "media_library.update_downloader",
        "POST downloads/update",
        "POST downloads/roll-back",
    ),
    # ---- live
    **_live(API),
    **_health(API),
    # ---- webhooks
    **_crud("streamsite.endpoint", "webhooks"),
    **_rows(
        KeyPermission.ADMIN,
        "streamsite.change_endpoint",
        "POST webhooks/{id}/secret",
        "POST webhooks/{id}/ping",
    ),
    **_rows(
        KeyPermission.READ_ONLY,
        "streamsite.view_delivery",
        "GET deliveries",
        "GET deliveries/{id}",
    ),
    **_rows(KeyPermission.ADMIN, "streamsite.change_delivery", "POST deliveries/{id}/replay"),
    # ---- API keys: the permission to mint them is as good as a superuser's
    **_rows(
        KeyPermission.FULL_ACCESS, "streamsite.view_apikey", "GET api-keys", "GET api-keys/{id}"
    ),
    **_rows(KeyPermission.FULL_ACCESS, "streamsite.add_apikey", "POST api-keys"),
    **_rows(KeyPermission.FULL_ACCESS, "streamsite.change_apikey", "DELETE api-keys/{id}"),
    # ---- compatibility paths: those of the first published design
    **_rows(
        KeyPermission.ADMIN,
        "streams.operate_channel",
        "POST streams/start",
        "POST streams/stop",
        root=FIRST,
    ),
    **_rows(KeyPermission.READ_ONLY, "streams.view_channel", "GET streams/status", root=FIRST),
    **_live(FIRST),
    **_health(FIRST),
    # ---- WebSockets: a handshake is a GET
    **_rows(
        KeyPermission.READ_ONLY, "streams.view_channel", "GET ws/channels/{slug}", root=FIRST
    ),
    **_rows(
        KeyPermission.DOWNLOAD,
        "media_library.view_downloadjob",
        "GET ws/progress/{id}",
        root=FIRST,
    ),
}


def rule_of(method: str, path: str) -> Rule | None:
    """The rule of a route such as `/api/v1/channels/{slug}`."""
    return TABLE.get(f"{method} {path}")


def django_permissions_of(level: KeyPermission) -> frozenset[str]:
    """The permissions that staff need to do all that such a key may do."""
    rules = (rule for rule in TABLE.values() if rule.key_permission is not None)
    return frozenset(
        rule.staff_permission
        for rule in rules
        if rule.staff_permission
        and rule.key_permission is not None
        and level.includes(rule.key_permission)
    )


def as_markdown() -> str:
    """The table for people: a line a route, a mark under each level that may call it."""
    head = ["Route", *(level.value for level in KeyPermission), "Staff need"]
    lines = [head, ["---", *(":-:" for _ in KeyPermission), "---"]]
    for route, rule in TABLE.items():
        least = rule.key_permission
        marks = (
            "✓" if least is None or level.includes(least) else "" for level in KeyPermission
        )
        lines.append(
            [f"`{route}`", *marks, f"`{rule.staff_permission}`" if least else "no key"]
        )
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


if __name__ == "__main__":
    print(as_markdown())  # noqa: T201 - it is what was asked for
