"""The roles and what each may do. Pure.

`python -m streamsite.accounts.roles` prints the table as deploy/roles.md has it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """A role, and the name of its group. Each one includes those before it."""

    VIEWER = "Viewer"
    SCHEDULER = "Scheduler"
    OPERATOR = "Operator"
    ENGINEER = "Engineer"
    ADMIN = "Admin"

    @property
    def within(self) -> tuple[Role, ...]:
        """The roles that it includes, itself last."""
        everyone = tuple(Role)
        return everyone[: everyone.index(self) + 1]


#: A person's sentence about each role, for the form and the documents.
SUMMARIES: Final[dict[Role, str]] = {
    Role.VIEWER: "sees channels, programme, library and history",
    Role.SCHEDULER: "plans the programme: blocks, playlists, items, downloads",
    Role.OPERATOR: "starts, stops and skips; lets broadcasters go live",
    Role.ENGINEER: "sets up channels, outputs, webhooks; sees nodes and jobs",
    Role.ADMIN: "everything, users and API keys included",
}

_EDIT: Final = "add change delete"
_ALL: Final = f"view {_EDIT}"

#: What each role may do beside what the roles before it may. An action with an underscore is
#: the whole name of a permission; `view` of `streams.run` is `streams.view_run`.
TABLE: Final[dict[Role, dict[str, str]]] = {
    Role.VIEWER: {
        "streams.channel": "view",
        "streams.output": "view",
        "streams.block": "view",
        "streams.onairhours": "view",
        "streams.takeoverright": "view",
        "streams.broadcaster": "view",
        "streams.livestream": "view",
        "streams.run": "view",
        "streams.asrun": "view",
        "streams.incident": "view",
        "streams.takeover": "view",
        "streams.upcomingproblem": "view",
        "streams.watchday": "view",
        "media_library.mediaitem": "view",
        "media_library.playlist": "view",
        "media_library.playlistentry": "view",
        "media_library.tag": "view",
        "media_library.downloadjob": "view",
        "media_library.downloadbatch": "view",
        "media_library.downloadschedule": "view",
        "media_library.syncrun": "view",
    },
    Role.SCHEDULER: {
        "streams.block": _EDIT,
        "media_library.mediaitem": _EDIT,
        "media_library.playlist": _EDIT,
        "media_library.playlistentry": _EDIT,
        "media_library.tag": _EDIT,
        "media_library.downloadjob": _EDIT,
        "media_library.downloadbatch": "add change",
        "media_library.downloadschedule": _EDIT,
        "media_library.syncrun": "add",
    },
    Role.OPERATOR: {
        "streams.channel": "operate",
        "streams.broadcaster": "add change",
        "streams.streamkey": "view add change",
    },
    Role.ENGINEER: {
        "streams.channel": _EDIT,
        "streams.output": _EDIT,
        "streams.onairhours": _EDIT,
        "streams.takeoverright": _EDIT,
        "streams.broadcaster": "delete",
        "streams.streamkey": "delete",
        "streams.node": "view drain delete",
        "streams.drill": "view add",
        "streams.platformaccount": _ALL,
        "streams.watchday": "add",
        "media_library.downloadjob": "download_from_any_site update_downloader",
        "media_library.sitecookies": _ALL,
        "streams.alertreceiver": _ALL,
        "streams.alertmessage": "view",
        "streamsite.endpoint": _ALL,
        "streamsite.delivery": "view change",
        "django_q.success": "view",
        "django_q.failure": "view",
        "django_q.schedule": "view",
        "django_q.ormq": "view",
    },
    Role.ADMIN: {
        "auth.user": _ALL,
        "auth.group": "view",
        "streamsite.apikey": "view add change",
        "streamsite.keychange": "view",
        "streamsite.auditentry": "view",
        "streamsite.usersession": "view delete",
        "axes.accessattempt": "view",
        "axes.accesslog": "view",
        "axes.accessfailurelog": "view",
    },
}


def _permission(row: str, action: str) -> str:
    app, _, model = row.partition(".")
    return f"{app}.{action}" if "_" in action else f"{app}.{action}_{model}"


def permissions_of(role: Role) -> frozenset[str]:
    """Django's names of all that the role may do, such as `streams.view_run`."""
    return frozenset(
        _permission(row, action)
        for one in role.within
        for row, actions in TABLE[one].items()
        for action in actions.split()
    )


def as_markdown() -> str:
    """The table for people: a line a kind of row, and what each role may do with it."""
    rows = dict.fromkeys(row for role in Role for row in TABLE[role])
    lines = [["Rows", *Role], ["---", *("---" for _ in Role)]]
    for row in rows:
        cells = [f"`{row}`"]
        for role in Role:
            given = [TABLE[one].get(row, "").split() for one in role.within]
            cells.append(", ".join(action for actions in given for action in actions))
        lines.append(cells)
    return "\n".join("| " + " | ".join(cells).replace("|  |", "| |") + " |" for cells in lines)


if __name__ == "__main__":
    print(as_markdown())  # noqa: T201 - it is what was asked for
