"""Keys of the storage: which of them are media, and which are skipped. Pure."""

from __future__ import annotations

from typing import Final

#: Hidden, in a trash, or an operating system's own: no media of the operator.
LEFT_OUT: Final = "left out"
#: Changed a moment ago: it may be an incomplete copy.
GROWING: Final = "growing"
#: Folders that servers and file systems keep for themselves, in lower case: thumbnails and
#: trash of Synology, QNAP and Windows, and ext4's lost+found. All others of the kind begin with
#: a dot.
_SYSTEM_FOLDERS: Final = frozenset(
    {
        *("@eadir", "#recycle", "#snapshot", "@tmp", "@recycle", "@recently-snapshot"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found", "__macosx"),
    }
)


def is_left_out(key: str) -> bool:
    """Returns whether the key is hidden, in a trash, or an operating system's own."""
    return any(
        (name.startswith(".") and name.strip(".")) or name.lower() in _SYSTEM_FOLDERS
        for name in key.split("/")
    )


def is_media(key: str, extensions: frozenset[str]) -> bool:
    """Returns whether the name has one of the extensions (lower case, without the dot)."""
    return key.rpartition(".")[2].lower() in extensions and "." in key
