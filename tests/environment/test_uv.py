"""uv: the user's own where it will do, else the pinned file from the index and no other."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from tilth.plugin.environment import uv as module
from tilth.plugin.environment.faults import EnvironmentError_
from tilth.plugin.environment.uv import find_or_fetch, on_path, platform_key, uv_environment

PROGRAM = b"#!/bin/sh\necho uv 9.9.9\n"


@pytest.fixture
def no_uv(monkeypatch):
    """A path on which there is no uv."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if shutil.which("uv", path="/usr/bin:/bin"):
        pytest.skip("this machine has uv among its system's programs")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index in files, with a wheel of uv that is pinned by its hash."""
    folder = tmp_path / "index"
    (folder / "simple" / "uv").mkdir(parents=True)
    wheel = folder / "uv-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-9.9.9.data/scripts/uvx", b"not this one")
        archive.writestr("uv-9.9.9.data/scripts/uv", PROGRAM)
        archive.writestr("uv/__init__.py", b"")
    page = folder / "simple" / "uv" / "index.html"
    page.write_text(f'<a href="../../{wheel.name}#sha256=0">{wheel.name}</a>', encoding="utf-8")
    pinned = tmp_path / "uv.json"
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wheels = {platform_key(): {"file": wheel.name, "sha256": sha256}}
    pinned.write_text(json.dumps({"version": "9.9.9", "wheels": wheels}))
    monkeypatch.setattr(module, "PINNED", pinned)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple/")
    asked = []

    def fetch(url: str, path: Path) -> None:
        asked.append(url)
        name = url.split("mirror.example/")[1]
        shutil.copy(folder / name / "index.html" if name.endswith("/") else folder / name, path)

    fetch.asked = asked
    fetch.wheel = wheel
    return fetch


def test_the_pinned_uv_is_fetched_from_the_user_s_mirror_once(no_uv, index, home):
    said = []
    found = find_or_fetch(index, said.append)
    assert (found.version, found.fetched) == ("9.9.9", True)
    assert Path(found.path) == home / "uv" / "9.9.9" / "uv"
    assert Path(found.path).read_bytes() == PROGRAM
    assert index.asked == [
        "https://mirror.example/simple/uv/",
        "https://mirror.example/uv-9.9.9-py3-none-any.whl",
    ]
    assert find_or_fetch(index, said.append) == found
    assert len(index.asked) == 2 and len(said) == 1
    assert [path.name for path in (home / "uv" / "9.9.9").iterdir()] == ["uv"]


def test_a_file_that_is_not_the_pinned_one_is_refused(no_uv, index, home):
    with zipfile.ZipFile(index.wheel, "a") as archive:
        archive.writestr("more", b"")
    with pytest.raises(EnvironmentError_, match="was not used"):
        find_or_fetch(index, print)
    assert not list(home.rglob("uv/9.9.9/*"))


def test_no_network(no_uv, no_fetch, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@mirror.example/simple")
    with pytest.raises(EnvironmentError_, match="could not be fetched from") as caught:
        find_or_fetch(no_fetch, print)
    assert "proxy" in str(caught.value)


def test_a_password_in_the_index_is_not_shown(no_uv, monkeypatch):
    def fetch(url: str, path: Path) -> None:
        path.write_text("")

    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@mirror.example/simple")
    with pytest.raises(
        EnvironmentError_, match=r"https://mirror\.example/simple/uv/ has no"
    ) as caught:
        find_or_fetch(fetch, print)
    assert "secret" not in str(caught.value)


def test_a_program_that_does_not_start(no_uv, index, monkeypatch):
    monkeypatch.setattr(module, "_version", lambda path: ())
    with pytest.raises(EnvironmentError_, match="does not start"):
        find_or_fetch(index, print)


def test_uv_on_the_path(fake_uv, no_fetch):
    found = find_or_fetch(no_fetch, print)
    assert found == (str(fake_uv.folder / "uv"), "0.13.8", False)


@pytest.mark.parametrize("plan", [{"version": "0.4.30"}, {"version": "nonsense"}])
def test_a_uv_that_is_too_old_or_odd_is_not_used(fake_uv, plan):
    fake_uv.plan(**plan)
    assert on_path(os.environ) is None


def test_a_broken_shim_is_not_used(fake_uv):
    (fake_uv.folder / "uv").write_text(
        "#!/bin/sh\necho 'pyenv: uv: command not found' >&2; exit 127\n"
    )
    assert on_path(os.environ) is None


@pytest.mark.parametrize(
    "words, wanted",
    [
        (("linux", "x86_64", "glibc"), "linux-x86_64"),
        (("linux", "aarch64", "glibc"), "linux-aarch64"),
        (("win32", "AMD64", ""), "windows-x86_64"),
        (("win32", "ARM64", ""), "windows-x86_64"),
        (("darwin", "arm64", ""), "macos-aarch64"),
    ],
)
def test_platforms(words, wanted):
    assert platform_key(*words) == wanted


def test_an_intel_qgis_on_an_arm_mac_gets_the_native_engine(monkeypatch):
    monkeypatch.setattr(module, "output_of", lambda command, timeout: "1\n")
    assert platform_key("darwin", "x86_64", "") == "macos-aarch64"


@pytest.mark.parametrize(
    "words", [("darwin", "x86_64", ""), ("linux", "x86_64", ""), ("linux", "ppc64le", "glibc")]
)
def test_platforms_without_pytorch_are_told_so(words, monkeypatch):
    monkeypatch.setattr(module, "output_of", lambda command, timeout: "")
    with pytest.raises(EnvironmentError_, match="PyTorch has no builds"):
        platform_key(*words)


def test_the_pinned_files_cover_the_platforms():
    pinned = json.loads((module.FOLDER / "uv.json").read_text(encoding="utf-8"))
    keys = {"linux-x86_64", "linux-aarch64", "windows-x86_64", "macos-aarch64"}
    assert set(pinned["wheels"]) == keys
    for wheel in pinned["wheels"].values():
        assert wheel["file"].startswith(f"uv-{pinned['version']}-")
        assert len(bytes.fromhex(wheel["sha256"])) == 32


def test_uv_gets_the_index_the_certificates_and_the_proxy(monkeypatch, tmp_path, home):
    bundle = tmp_path / "corp.pem"
    bundle.write_text("")
    environ = {
        "PATH": "/bin",
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "PIP_CERT": str(bundle),
        "PYTHONHOME": "/q",
    }
    result = uv_environment(environ, proxy="http://user:pw@proxy:8080")
    assert result["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert result["UV_SYSTEM_CERTS"] == result["UV_NATIVE_TLS"] == "true"
    assert result["SSL_CERT_FILE"] == str(bundle)
    assert result["HTTPS_PROXY"] == result["HTTP_PROXY"] == "http://user:pw@proxy:8080"
    assert result["UV_PYTHON_INSTALL_DIR"] == str(home / "python")
    assert not {"PIP_INDEX_URL", "PIP_CERT", "PYTHONHOME"} & set(result)


def test_what_the_user_set_for_uv_stays():
    environ = {
        "UV_INDEX_URL": "https://old.example/simple",
        "UV_SYSTEM_CERTS": "false",
        "SSL_CERT_FILE": "/corp.pem",
        "HTTPS_PROXY": "http://corp:1",
        "UV_PYTHON_INSTALL_DIR": "/p",
    }
    result = uv_environment(environ)
    assert "UV_DEFAULT_INDEX" not in result
    assert environ.items() <= result.items()


@pytest.mark.skipif(sys.platform == "win32", reason="a file's permission to run is POSIX's")
def test_the_fetched_program_may_run(no_uv, index):
    assert os.access(find_or_fetch(index, print).path, os.X_OK)
