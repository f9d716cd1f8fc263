"""The table of permissions, from the routes of the API.

`python -m streamsite.site.permission_table` prints it as deploy/api.md has it.
"""

from __future__ import annotations

import os

import django

from streamsite.api.permissions import KeyPermission, Rule


def table() -> dict[str, Rule | None]:
    """The rule of each route, such as `GET /api/v1/channels/{slug}`. None: it needs no key."""
    from streamsite.site.api_root import TOPICS, api, first  # noqa: PLC0415 - after the set-up

    rules: dict[str, Rule | None] = {}
    for root in (api, first):
        for path, methods in root.get_openapi_schema()["paths"].items():
            for method, operation in methods.items():
                key = operation.get("x-permissions")
                rule = (
                    Rule(KeyPermission(key), operation["x-staff-permission"]) if key else None
                )
                rules[f"{method.upper()} {path}"] = rule
    return rules | {f"GET {topic.socket}": topic.rule for topic in TOPICS}


def as_markdown() -> str:
    """The table for people: a line a route, a mark under each permission that may call it."""
    head = ["Route", *(permission.value for permission in KeyPermission), "Staff need"]
    lines = [head, ["---", *(":-:" for _ in KeyPermission), "---"]]
    for route, rule in table().items():
        marks = (
            "✓" if rule is None or permission.includes(rule.key_permission) else ""
            for permission in KeyPermission
        )
        lines.append([f"`{route}`", *marks, f"`{rule.staff_permission}`" if rule else "no key"])
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streamsite.settings")
    django.setup()
    print(as_markdown())  # noqa: T201 - it is what was asked for
