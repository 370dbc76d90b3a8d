"""Making the environment: with a uv that only writes down what it is asked, and once for real."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import sys
import threading
import time
import urllib.error
from pathlib import Path

import pytest
from tilth.plugin.environment import __main__ as command
from tilth.plugin.environment import checks, torch_build
from tilth.plugin.environment import create as module
from tilth.plugin.environment.child import output_of
from tilth.plugin.environment.create import add, create, device_note, remove
from tilth.plugin.environment.faults import EnvironmentCancelled, EnvironmentError_
from tilth.plugin.environment.fetch import fetch as real_fetch
from tilth.plugin.environment.index import index_url
from tilth.plugin.environment.paths import REQUIREMENTS, environment_folder, python_of
from tilth.plugin.environment.requirements import package_names, split_lock, without_hashes
from tilth.plugin.environment.state import RECORD, read_record, state
from tilth.plugin.environment.torch_build import CPU, PYPI_CPU, PYPI_CUDA, Build, Choice

LOCK = """# made for the tests
numpy==2.4.6 ; python_full_version >= '3.11' \\
    --hash=sha256:00
nvidia-cublas==13.4.1.3 ; sys_platform == 'linux' \\
    --hash=sha256:00
torch==2.14.1 ; python_full_version < '3.11' \\
    --hash=sha256:00
torch==2.15.0 ; python_full_version >= '3.11' \\
    --hash=sha256:00
torchvision==0.29.2 \\
    --hash=sha256:00
"""
# The smallest packages there are, for the one real installation.
REAL_LOCK = """six==1.17.0 \\
    --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
iniconfig==2.1.0 \\
    --hash=sha256:9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760
"""


@pytest.fixture
def lock(tmp_path):
    file = tmp_path / "a.lock"
    file.write_text(LOCK, encoding="utf-8")
    return file


@pytest.fixture
def no_card(monkeypatch):
    monkeypatch.setattr(module, "find_gpus", lambda: [])


@pytest.fixture
def make(lock, progress, no_fetch, no_card):
    """create() with everything given; keywords replace."""

    def make_(target: Path, **keywords: object) -> None:
        words = {
            "fetch": no_fetch, "on_progress": progress, "is_cancelled": lambda: False,
            "lock": lock, "modules": ["json"], **keywords,
        }  # fmt: skip
        create(target, **words)

    return make_


def test_made_verified_and_written_down(tmp_path, make, fake_uv, progress, lock):
    target = tmp_path / "an environment, é"
    make(target)
    assert state(target, lock).name == "ready"
    record = read_record(target)
    assert record["uv"]["fetched"] is False and record["python"] and record["cuda"] is None
    assert progress.rises and progress[-1][0] == 1.0
    assert "ready" in progress[-1][1] and "processor" in progress[-1][1]
    (install,) = fake_uv.words("pip")
    assert {"--require-hashes", "--no-deps", "--no-build", str(lock)} <= set(install)
    (venv,) = fake_uv.words("venv")
    assert venv[venv.index("--python") + 1] == ">=3.10,<3.15"
    assert venv[venv.index("--python-preference") + 1] == "system"


def test_ready_means_nothing_to_do(tmp_path, make, fake_uv, progress):
    make(tmp_path / "e")
    calls = len(fake_uv.calls)
    started = time.monotonic()
    make(tmp_path / "e")
    assert time.monotonic() - started < 20
    assert len(fake_uv.calls) == calls and progress[-1] == (1.0, "The environment is ready")


def test_uv_is_not_poisoned(tmp_path, make, fake_uv, monkeypatch):
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "GDAL_DATA", "LD_LIBRARY_PATH", "UV_TARGET"):
        monkeypatch.setenv(name, str(tmp_path))
    make(tmp_path / "e", proxy="http://proxy:3128")
    for call in fake_uv.calls[1:]:
        assert not {"PYTHONPATH", "VIRTUAL_ENV", "GDAL_DATA", "UV_TARGET"} & set(call["environ"])
        assert call["environ"]["HTTPS_PROXY"] == "http://proxy:3128"


@pytest.mark.parametrize("leave", ["record", "python"])
def test_a_half_made_environment_is_made_again_from_nothing(tmp_path, make, fake_uv, lock, leave):
    target = tmp_path / "e"
    make(target)
    (target / RECORD if leave == "record" else python_of(target)).unlink()
    (target / "rubbish").write_text("")
    assert state(target, lock).name == "broken"
    make(target)
    assert state(target, lock).name == "ready"
    assert not (target / "rubbish").exists() and len(fake_uv.words("venv")) == 2


def test_another_lock_updates_in_place(tmp_path, make, fake_uv, lock):
    target = tmp_path / "e"
    make(target)
    lock.write_text(LOCK + "# newer\n", encoding="utf-8")
    assert "another version" in state(target, lock).reason
    make(target)
    assert state(target, lock).name == "ready" and len(fake_uv.words("venv")) == 1


def test_an_update_that_fails_is_not_taken_for_ready(tmp_path, make, fake_uv, lock):
    target = tmp_path / "e"
    make(target)
    lock.write_text(LOCK + "# newer\n", encoding="utf-8")
    fake_uv.plan(error="error: dns error")
    with pytest.raises(EnvironmentError_, match="can't be reached"):
        make(target)
    assert state(target, lock).name == "broken"


@pytest.mark.parametrize("folder", ["someone's", "hand-made venv", "a file"])
def test_what_is_not_ours_is_never_touched(tmp_path, make, fake_uv, folder):
    target = tmp_path / folder
    if folder == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine.txt").write_text("mine")
        if "venv" in folder:
            (target / "pyvenv.cfg").write_text("home = /usr/bin\n")
    for act in (lambda: make(target), lambda: remove(target)):
        with pytest.raises(EnvironmentError_, match="left as it is"):
            act()
    assert (target if folder == "a file" else target / "mine.txt").read_text() == "mine"


def test_a_module_that_does_not_load(tmp_path, make, fake_uv):
    target = tmp_path / "e"
    with pytest.raises(EnvironmentError_, match="no_such_module: ModuleNotFoundError"):
        make(target, modules=["json", "no_such_module"])
    assert not target.exists()


def test_a_check_that_dies(tmp_path, make, fake_uv, monkeypatch):
    folder = tmp_path / "probe"
    folder.mkdir()
    (folder / "probe.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(module, "FOLDER", folder)
    with pytest.raises(EnvironmentError_, match="exit code -9"):
        make(tmp_path / "e")


def test_noise_on_standard_output_does_not_hide_the_result(tmp_path, make, fake_uv, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "noisy.py").write_text("print('hello', end='')")
    probe = (module.FOLDER / "probe.py").read_text(encoding="utf-8")
    (folder / "probe.py").write_text(
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        + probe.split('"""', 2)[2].replace("from __future__ import annotations", "")
    )
    monkeypatch.setattr(module, "FOLDER", folder)
    make(tmp_path / "e", modules=["noisy"])
    assert read_record(tmp_path / "e")["versions"] == {"noisy": ""}


def test_cancel_within_two_seconds_leaves_nothing(tmp_path, make, fake_uv, progress):
    fake_uv.plan(seconds=60)
    stop = threading.Event()
    timer = threading.Timer(1.5, stop.set)
    timer.start()
    target = tmp_path / "e"
    with pytest.raises(EnvironmentCancelled):
        make(target, is_cancelled=stop.is_set)
    took = time.monotonic()
    assert "Downloading" not in progress.text and not target.exists()
    timer.join()
    assert time.monotonic() - took < 2
    fake_uv.plan()
    make(target)


def test_uv_s_failure_is_one_line_and_leaves_nothing(tmp_path, make, fake_uv):
    fake_uv.plan(error="error: failed\n  cause: No space left on device (os error 28)")
    with pytest.raises(EnvironmentError_, match="the disk is full") as caught:
        make(tmp_path / "e")
    assert "\n" not in str(caught.value) and not (tmp_path / "e").exists()


def test_two_windows_at_once_make_one_environment(tmp_path, make, fake_uv, progress):
    fake_uv.plan(seconds=1)
    target = tmp_path / "e"
    threads = [threading.Thread(target=make, args=(target,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake_uv.words("venv")) == 1
    assert "Another Tilth" in progress.text and "waiting" in progress.text


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path, make, fake_uv, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage(9e9, 8e9, 1e9))
    with pytest.raises(EnvironmentError_, match=r"1\.0 GB free and the environment needs"):
        make(tmp_path / "not" / "yet" / "there")
    assert fake_uv.calls == [] and not (tmp_path / "not").exists()


def test_windows_short_paths(monkeypatch):
    deep = Path("C:\\Users\\" + "a" * 120)
    with pytest.raises(EnvironmentError_, match="too long a path"):
        checks.check_path_length(deep, "win32")
    checks.check_path_length(Path(r"C:\Users\Ñandú\AppData\Local\tilth\environment"), "win32")
    checks.check_path_length(Path("/" + "a" * 300), "linux")
    monkeypatch.setattr(checks, "_long_paths_enabled", lambda: True)
    checks.check_path_length(deep, "win32")


# --- PyTorch's own index ---


@pytest.fixture
def reachable():
    def fetch(url: str, path: Path) -> None:
        assert url == "https://download.pytorch.org/whl/cpu/torch/"
        path.write_text("")

    return fetch


def test_the_processor_s_build_from_pytorch_s_index(tmp_path, make, fake_uv, reachable):
    target = tmp_path / "e"
    make(target, fetch=reachable)
    rest, torch = fake_uv.words("pip")
    assert "--require-hashes" in rest
    assert torch[torch.index("--torch-backend") + 1] == "cpu"
    assert "torch<=2.15.0 ; python_full_version >= '3.11'" in torch
    assert "torchvision<=0.29.2" in torch and "--constraints" in torch
    assert read_record(target)["build"]["backend"] == "cpu"


def test_pypi_s_build_where_pytorch_s_index_is_out_of_reach(tmp_path, make, fake_uv, progress):
    make(tmp_path / "e")
    assert len(fake_uv.words("pip")) == 1 and "can't be reached" in progress.text
    assert read_record(tmp_path / "e")["build"]["backend"] == ""


def test_pypi_s_build_where_pytorch_s_index_has_none(tmp_path, make, fake_uv, progress, reachable):
    fake_uv.plan(no_backend=True)
    make(tmp_path / "e", fetch=reachable)
    assert len(fake_uv.words("pip")) == 3 and "instead" in progress.text
    assert read_record(tmp_path / "e")["build"]["backend"] == ""


def test_a_lock_without_pytorch_needs_no_index_of_its_own(tmp_path, make, fake_uv, lock, reachable):
    lock.write_text("six==1.17.0 \\\n    --hash=sha256:00\n", encoding="utf-8")
    make(tmp_path / "e", fetch=reachable)
    assert len(fake_uv.words("pip")) == 1


def test_splitting_the_lock():
    rest, family = split_lock(LOCK)
    assert "numpy==2.4.6" in rest and "--hash" in rest
    assert not any(word in rest for word in ("torch", "nvidia"))
    assert family == [
        "torch<=2.14.1 ; python_full_version < '3.11'",
        "torch<=2.15.0 ; python_full_version >= '3.11'",
        "torchvision<=0.29.2",
    ]
    assert without_hashes(rest) == "numpy==2.4.6 ; python_full_version >= '3.11'\n"


def test_the_real_lock():
    text = REQUIREMENTS.read_text(encoding="utf-8")
    rest, family = split_lock(text)
    assert len(family) >= 2 and "rasterio==" in rest and "cuda" not in rest
    names = package_names(text)
    wanted = {"torch", "torchvision", "timm", "peft", "rasterio", "pyogrio", "shapely", "numpy"}
    assert wanted <= set(names)
    entries = [line for line in text.splitlines() if line[:1].isalnum()]
    assert all(line.endswith("\\") for line in entries), "each has its hashes"
    assert any("sys_platform == 'linux'" in line for line in entries if line.startswith("nvidia"))
    assert any("win32" in line for line in entries)


# --- what it will run on ---


def test_cuda_that_works_is_named():
    found = {"cuda": {"build": "13.0", "devices": ["NVIDIA H200"], "reason": ""}}
    assert device_note(Choice([PYPI_CUDA], ""), PYPI_CUDA, found).endswith("CUDA on NVIDIA H200.")


def test_cuda_that_does_not_work_falls_back_with_its_reason():
    found = {"cuda": {"build": "13.0", "devices": [], "reason": "the driver is too old"}}
    note = device_note(Choice([PYPI_CUDA], ""), PYPI_CUDA, found)
    assert note == "It will use the processor: the driver is too old."


def test_the_choice_s_reason_comes_first():
    choice = Choice([CPU, PYPI_CPU], "K40 is too old for PyTorch")
    assert "K40 is too old" in device_note(choice, CPU, {"cuda": {"reason": "no CUDA"}})


def test_apple():
    build = torch_build.PYPI_MAC
    assert "Apple" in device_note(Choice([build], ""), build, {"cuda": {"devices": []}})


class FakeTorch:
    """As much of torch as the probe touches."""

    class version:  # noqa: N801
        cuda = "13.0"

    def __init__(self, fault: Exception | None = None, total: float = 16.0) -> None:
        self.cuda, self._fault, self._total = self, fault, total

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def get_device_name(self, index: int) -> str:
        return "card"

    def ones(self, count: int, device: str) -> FakeTorch:
        if self._fault:
            raise self._fault
        return self

    def __mul__(self, other: int) -> FakeTorch:
        return self

    def sum(self) -> float:
        return self._total


def test_the_probe_computes_on_the_card():
    from tilth.plugin.environment import probe

    assert probe._cuda(FakeTorch())["devices"] == ["card"]
    wrong = probe._cuda(FakeTorch(total=0.0))
    assert wrong["devices"] == [] and "wrong" in wrong["reason"]
    fault = RuntimeError("CUDA error: no kernel image is available\nCompile with …")
    broken = probe._cuda(FakeTorch(fault))
    assert broken["devices"] == [] and broken["reason"] == f"RuntimeError: {fault}".splitlines()[0]


# --- removing, adding, the command ---


def test_removing(make, fake_uv, home):
    target = environment_folder()
    make(target)
    (home / "uv" / "0.13.8").mkdir(parents=True)
    (home / "adapters").mkdir()
    remove(target)
    assert not target.exists() and not (home / "uv").exists() and (home / "adapters").exists()
    remove(target)
    assert not [words for words in fake_uv.words("cache") if "clean" in words]


@pytest.mark.parametrize("kept", [True, False])
def test_removing_gives_the_room_in_uv_s_cache_back_where_uv_is_ours(
    make, fake_uv, monkeypatch, kept
):
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    target = environment_folder()
    make(target)
    record = read_record(target)
    record["uv"]["fetched"] = True
    (target / RECORD).write_text(json.dumps(record))
    if kept:
        monkeypatch.setenv("UV_CACHE_DIR", "/shared/cache")
    remove(target)
    cleaned = [words for words in fake_uv.words("cache") if "clean" in words]
    assert (cleaned == []) is kept
    assert kept or "torch" in cleaned[0]


def test_adding_a_lock_once(tmp_path, make, fake_uv, no_fetch, progress):
    target, tools = tmp_path / "e", tmp_path / "tools.lock"
    tools.write_text("six==1.17.0 \\\n    --hash=sha256:00\n")
    with pytest.raises(EnvironmentError_, match="make it first"):
        add(target, tools, fetch=no_fetch, on_progress=progress)
    make(target)
    for _ in range(2):
        add(target, tools, fetch=no_fetch, on_progress=progress)
    assert len(fake_uv.words("pip")) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_command_works_from_any_folder_and_through_a_link(tmp_path):
    target = tmp_path / "an environment's"
    (target / "bin").mkdir(parents=True)
    python_of(target).symlink_to(sys.executable)
    path = command.write_command(target)
    assert os.access(path, os.X_OK) and "launch.py" in path.read_text(encoding="utf-8")
    link = tmp_path / "tilth"
    link.symlink_to(path)
    path.write_text(
        path.read_text().replace(
            path.read_text().split("exec ")[1].split(' "$@"')[0], "echo it ran"
        )
    )
    assert output_of([str(link), "--x"], 10) == "it ran --x\n"


def test_the_command_on_windows(tmp_path):
    target = tmp_path / "e"
    (target / "Scripts").mkdir(parents=True)
    path = command.write_command(target, "win32")
    assert (
        path.name == "tilth.cmd" and path.read_text().startswith('@"') and "%*" in path.read_text()
    )


def test_uv_with_the_same_settings(fake_uv, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/poison")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    assert command.main(["uv", "cache", "dir"]) == 0
    call = fake_uv.calls[-1]
    assert call["words"] == ["cache", "dir"] and "PYTHONPATH" not in call["environ"]
    assert call["environ"]["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


def test_the_module_s_own_command(tmp_path, capsys):
    assert command.main(["state", "--target", str(tmp_path / "no")]) == 1
    assert capsys.readouterr().out == "absent\n"
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").write_text("")
    assert command.main(["create", "--target", str(tmp_path / "x")]) == 2
    assert "left as it is" in capsys.readouterr().err


# --- for real ---


def test_for_real(tmp_path, home, progress, monkeypatch):
    """No uv on the path: uv fetched from the index, a Python found, two packages installed."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PYTHONHOME", "/poison")
    monkeypatch.setenv("VIRTUAL_ENV", "/poison")
    lock = tmp_path / "real.lock"
    lock.write_text(REAL_LOCK, encoding="utf-8")
    target = tmp_path / "Umgebung mit Leerzeichen, é ü ñ 森林"
    words = {
        "fetch": real_fetch, "on_progress": progress, "is_cancelled": lambda: False,
        "lock": lock, "modules": ["six", "iniconfig"],
    }  # fmt: skip
    try:
        real_fetch(f"{index_url(os.environ)}/six/", tmp_path / "six.html")
    except (OSError, urllib.error.URLError) as error:
        pytest.skip(f"the package index can't be reached: {error}")
    create(target, **words)
    assert state(target, lock).name == "ready" and progress.rises
    record = read_record(target)
    assert record["uv"]["fetched"] or not record["uv"]["path"].startswith(str(home))
    assert record["versions"]["six"] == "1.17.0" and record["prefix"] == str(target)
    python = str(python_of(target))
    assert output_of([python, "-I", "-c", "import six; print(six.__file__)"], 20).startswith(
        str(target)
    )
    lock.write_text(REAL_LOCK.replace("4721f391", "00000000"), encoding="utf-8")
    other = tmp_path / "other"
    with pytest.raises(EnvironmentError_, match="changes files"):
        create(other, **words)
    assert not other.exists()


def test_a_download_outside_qgis(tmp_path):
    (tmp_path / "é.txt").write_bytes(b"text")
    real_fetch((tmp_path / "é.txt").as_uri(), tmp_path / "copy")
    digest = hashlib.sha256((tmp_path / "copy").read_bytes()).hexdigest()
    assert digest == hashlib.sha256(b"text").hexdigest()
    with pytest.raises(OSError, match="no address"):
        real_fetch("ftp://host/file", tmp_path / "x")
    with pytest.raises(OSError, match=r"refused|failed"):
        real_fetch("http://127.0.0.1:9/file", tmp_path / "x")


def test_builds_are_described():
    assert Build("cu126", "x") != PYPI_CUDA
