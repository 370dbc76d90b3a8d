"""The plugin's zip is what plugins.qgis.org accepts, and the same each time."""

from __future__ import annotations

import configparser
import posixpath
import re
import runpy
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = runpy.run_path(str(ROOT / "scripts" / "package.py"))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return PACKAGE["build"](tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def names(package):
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_size_and_top_folder(package, names):
    assert package.stat().st_size <= PACKAGE["LIMIT_BYTES"]
    assert {name.split("/")[0] for name in names} == {"tilth"}


@pytest.mark.parametrize(
    "name",
    [
        "__init__.py",
        "metadata.txt",
        "LICENSE",
        "plugin/tilth_plugin.py",
        "plugin/engine/launch.py",
        "plugin/engine/backbones/embedded/weights.safetensors",
        "plugin/environment/requirements.lock",
        "plugin/environment/uv.json",
        "ui/dock.ui",
        "resources/icons/tilth.svg",
    ],
)
def test_what_it_needs_is_in_it(names, name):
    assert f"tilth/{name}" in names


def test_the_pages_that_it_points_at_are_in_it(package, names):
    pointed = 0
    with zipfile.ZipFile(package) as archive:
        for name in names:
            if not name.endswith(".md"):
                continue
            text = archive.read(name).decode("utf-8")
            links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
            found = [posixpath.join(posixpath.dirname(name), link) for link in links]
            found += [f"tilth/{page}" for page in re.findall(r"\bdocs/[\w.-]+\.md\b", text)]
            assert not [path for path in found if path not in names]
            pointed += len(found)
    assert pointed > 20


def test_it_stays_small(package, names):
    """The pages and their pictures are a small part of it."""
    with zipfile.ZipFile(package) as archive:
        docs = sum(e.compress_size for e in archive.infolist() if "/docs/" in e.filename)
    assert docs < 1_000_000


def test_nothing_else_is_in_it(names):
    unwanted = (".pyc", "__pycache__", "/.git", ".qgs", ".so", ".exe", ".dll", "/tests/", "/build/")
    assert not [name for name in names if any(part in name for part in unwanted)]
    assert len(names) == len(set(names))


def test_the_same_each_time(package, tmp_path):
    assert PACKAGE["build"](tmp_path).read_bytes() == package.read_bytes()


def test_metadata():
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(ROOT / "metadata.txt", encoding="utf-8")
    general = metadata["general"]
    wanted = (
        "name description version qgisMinimumVersion qgisMaximumVersion author email about "
        "tracker repository"
    )
    assert not [key for key in wanted.split() if not general.get(key)]
    assert "external dependencies" in general["about"].lower()
    assert general["qgisMaximumVersion"] == "4.99" and "supportsQt6" not in general
    version = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split('\nversion = "')[1]
    assert version.startswith(general["version"] + '"')
    assert f"## {general['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
