"""The HLS window's folder: its readers, and its recreation."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from pytest_django import Settings

from streams.playout.ffmpeg import hls_window, process
from streams.playout.node import wake
from streams.wake import wake_supervisor


def other_group() -> int:
    """A group to which this user may assign a folder."""
    if os.geteuid() == 0:
        return 12
    others = [group for group in os.getgroups() if group != os.getegid()]
    return others[0] if others else pytest.skip("this user is in no second group")


def test_the_group_reads_the_window_and_only_passes_through_the_rest(tmp_path: Path) -> None:
    group, hls = other_group(), tmp_path / "channel-1" / "hls"
    for _ in range(2):
        hls_window.ensure_folder(hls, group)
        status = hls.stat()
        assert (status.st_gid, stat.S_IMODE(status.st_mode) & 0o777) == (group, 0o750)
        assert stat.S_IMODE(hls.parent.stat().st_mode) == 0o711
        assert hls.parent.stat().st_gid != group
        # Somebody clears the run directory.
        shutil.rmtree(hls.parent)


def test_without_a_group_nobody_else_gets_in(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        hls = hls_window.ensure_folder(tmp_path / "channel-1" / "hls", None)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) & 0o007 for path in (hls, hls.parent)} == {0}


def test_a_foreign_group_does_not_stop_a_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)
    hls = hls_window.ensure_folder(tmp_path / "channel-1" / "hls", os.getegid() + 1)
    assert hls.is_dir()


def test_a_deleted_supervisor_socket_is_noticed(tmp_path: Path, settings: Settings) -> None:
    settings.RUN_DIR = tmp_path
    wake_socket = wake.listen(tmp_path)
    assert wake.socket_exists(tmp_path)
    (tmp_path / wake.NAME).unlink()
    assert not wake.socket_exists(tmp_path)
    # Nobody hears it, and nobody needs to.
    wake_supervisor()
    wake_socket.close()
    again = wake.listen(tmp_path)
    wake_supervisor()
    assert again.recv(16) == b"!"
    again.close()


def test_a_record_that_was_deleted_is_written_again(tmp_path: Path) -> None:
    record = process.Record(os.getpid(), 1, "hub", 9, 2.0, {"at": "3/2"})
    process.write_record(tmp_path, record)
    assert not process.restore_record(tmp_path, record)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert process.records(tmp_path) == []
    assert process.restore_record(tmp_path, record)
    assert process.records(tmp_path) == [record]
