"""Outputs whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tilth_engine.data.files import atomic_path, file_faults
from tilth_engine.errors import TilthError


def test_appears_when_done_and_keeps_the_suffix(tmp_path):
    target = tmp_path / "a.tif"
    with atomic_path(target) as beside:
        assert beside.suffix == ".tif" and beside.parent == tmp_path
        beside.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="stop"), atomic_path(target) as beside:
        beside.write_text("half")
        (tmp_path / f"{beside.name}.aux.xml").write_text("gdal")
        raise ValueError("stop")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a") as beside:
            beside.write_text("x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_missing_folder_and_folder_as_target(tmp_path):
    with (
        pytest.raises(TilthError, match=r"folder .* does not exist"),
        atomic_path(tmp_path / "no" / "a.tif"),
    ):
        pass
    with pytest.raises(TilthError, match="this is a folder"), atomic_path(tmp_path):
        pass


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "no permission"),
        (errno.ENOENT, "does not exist"),
    ],
)
def test_faults_as_one_line(code, text):
    with pytest.raises(TilthError, match=f"x.tif: .*{text}"), file_faults("x.tif"):
        raise OSError(code, os.strerror(code))


def test_gdal_tells_of_a_full_disk_in_words():
    with pytest.raises(TilthError, match="disk is full"), file_faults("x.tif"):
        raise OSError("TIFFAppendToStrip: No space left on device")


def test_other_faults_pass():
    with pytest.raises(OSError, match="odd"), file_faults("x.tif"):
        raise OSError("odd")


def test_a_disk_that_fills_up_while_writing(tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with (
        pytest.raises(TilthError, match="disk is full"),
        atomic_path(tmp_path / "a.txt"),
        full.open("w", buffering=1) as file,
    ):
        file.write("x\n")
    assert list(tmp_path.iterdir()) == []
