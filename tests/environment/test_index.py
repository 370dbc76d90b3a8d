"""The user's package index is used, and files are found on pages as indexes write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tilth.plugin.environment.index import (
    PYPI,
    certificate_bundle,
    find_file,
    index_url,
    pip_files,
)

MIRROR = "https://mirror.example/simple"


@pytest.fixture
def user(tmp_path):
    """Variables under which no configuration of the machine is read but the test's own."""
    config = tmp_path / "config"
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(config), "XDG_CONFIG_DIRS": str(config)}


@pytest.fixture(autouse=True)
def no_system_file(monkeypatch):
    real = pip_files
    monkeypatch.setattr(
        "tilth.plugin.environment.index.pip_files",
        lambda *words: [path for path in real(*words) if path != Path("/etc/pip.conf")],
    )


def test_pypi_where_nothing_is_set(user):
    assert index_url(user) == PYPI


@pytest.mark.parametrize(
    "variables, wanted",
    [
        ({"UV_DEFAULT_INDEX": MIRROR, "PIP_INDEX_URL": "https://other"}, MIRROR),
        ({"UV_DEFAULT_INDEX": "corp=" + MIRROR}, MIRROR),
        ({"UV_INDEX_URL": MIRROR}, MIRROR),
        ({"PIP_INDEX_URL": MIRROR + " "}, MIRROR),
        ({"PIP_INDEX_URL": "https://u:p@host/a=b/simple"}, "https://u:p@host/a=b/simple"),
    ],
)
def test_variables(user, variables, wanted):
    assert index_url({**user, **variables}) == wanted


def test_pip_conf_of_the_user(user, tmp_path):
    file = tmp_path / "config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text(f"[global]\nindex-url = {MIRROR}\ntimeout = 60\n", encoding="utf-8")
    assert index_url(user) == MIRROR
    file.write_text(f"[global]\nindex-url = https://x\n[install]\nindex-url = {MIRROR}\n")
    assert index_url(user) == MIRROR
    assert index_url({**user, "PIP_CONFIG_FILE": os.devnull}) == PYPI


def test_the_chosen_file_wins(user, tmp_path):
    file = tmp_path / "mine.conf"
    file.write_text(f"[global]\nindex-url = {MIRROR}\ncert = {file}\n", encoding="utf-8")
    environ = {**user, "PIP_CONFIG_FILE": str(file)}
    assert index_url(environ) == MIRROR
    assert certificate_bundle(environ) == str(file)


@pytest.mark.parametrize("text", ["index-url = x\n", "[global]\nindex-url", "\x00\xff[", "[global"])
def test_a_broken_file_is_passed_over(user, tmp_path, text):
    file = tmp_path / "mine.conf"
    file.write_bytes(text.encode("latin-1"))
    assert index_url({**user, "PIP_CONFIG_FILE": str(file)}) in (PYPI, "")


def test_a_certificate_that_is_not_there_is_not_used(user):
    assert certificate_bundle({**user, "PIP_CERT": "/nowhere/ca.pem"}) == ""


def test_where_pip_looks_on_windows_and_macos():
    windows = {"APPDATA": "R", "PROGRAMDATA": "P", "USERPROFILE": "U"}
    assert [str(p) for p in pip_files(windows, "win32")] == [
        str(Path("P/pip/pip.ini")),
        str(Path("U/pip/pip.ini")),
        str(Path("R/pip/pip.ini")),
    ]
    mac = [str(path) for path in pip_files({"HOME": "/Users/a"}, "darwin")]
    assert "/Users/a/Library/Application Support/pip/pip.conf" in mac


@pytest.mark.parametrize(
    "page_url, link, wanted",
    [
        ("https://pypi.org/simple/uv/", "https://files.example/ab/f.whl#sha256=12",
         "https://files.example/ab/f.whl"),
        ("https://m.example/api/simple/uv/", "../../packages/f.whl#sha256=12",
         "https://m.example/api/packages/f.whl"),
        ("https://u:p@m.example/simple/uv/", "../../f.whl", "https://u:p@m.example/f.whl"),
        ("https://u:p@m.example/simple/uv/", "https://m.example/f.whl",
         "https://u:p@m.example/f.whl"),
        ("https://u:p@m.example/simple/uv/", "https://elsewhere.example/f.whl",
         "https://elsewhere.example/f.whl"),
    ],
)  # fmt: skip
def test_a_file_on_a_page(page_url, link, wanted):
    page = f'<a href="https://x/f.whl.metadata">f.whl.metadata</a><a href="{link}">f.whl</a>'
    assert find_file(page, page_url, "f.whl") == wanted
    assert find_file(page, page_url, "g.whl") is None
    assert find_file("", page_url, "f.whl") is None
