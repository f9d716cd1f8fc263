"""Names the person who types a command."""

from __future__ import annotations

import getpass


def shell_user() -> str:
    """The name of the shell's user, as the audit log shows it."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):
        # In a container the user may have no name.
        return "command"
