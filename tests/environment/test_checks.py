"""A removal that fails half-way leaves no half environment behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tilth.plugin.environment.checks import delete
from tilth.plugin.environment.faults import EnvironmentError_


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "[e] nvironment"
    (made / "lib").mkdir(parents=True)
    (made / "lib" / "torch.dll").write_text("in use")
    (made / "pyvenv.cfg").write_text("prompt = tilth")
    return made


def test_what_is_in_use_goes_the_next_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_half_way(path: Path, ignore_errors: bool = False) -> None:
        (path / "pyvenv.cfg").unlink()
        raise PermissionError("torch.dll is in use")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop_half_way)
        with pytest.raises(EnvironmentError_, match=r"in use.*then delete it"):
            delete(folder)
    assert not folder.exists()
    assert len(list(folder.parent.iterdir())) == 1

    folder.mkdir()
    delete(folder)
    assert not list(folder.parent.iterdir())


def test_what_can_t_be_moved_is_left_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is on Windows while a program has a file in it open."""

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError("Access is denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(EnvironmentError_, match="try again"):
        delete(folder)
    assert (folder / "lib" / "torch.dll").exists() and (folder / "pyvenv.cfg").exists()
