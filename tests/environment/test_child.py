"""A child process gets nothing of QGIS's, and all that a site needs to reach its network."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tilth.plugin.environment.child import child_environment, output_of, spawn_options

LINUX = {"platform": "linux", "executable": "/usr/bin/python3"}
WINDOWS = {"platform": "win32", "executable": r"C:\Program Files\QGIS 3.40\bin\qgis-bin.exe"}
MAC = {"platform": "darwin", "executable": "/Applications/QGIS.app/Contents/MacOS/QGIS"}
POISON = [
    "PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "PYTHONNOUSERSITE", "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_INDEX_URL", "QGIS_PREFIX_PATH", "PROJ_LIB",
    "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "DYLD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "UV_PYTHON", "UV_TARGET", "UV_SYSTEM_PYTHON",
    "UV_TORCH_BACKEND", "UV_NO_BINARY", "UV_EXCLUDE_NEWER", "UV_PROJECT_ENVIRONMENT",
]  # fmt: skip
KEPT = [
    "HOME", "LANG", "HTTPS_PROXY", "NO_PROXY", "CUDA_VISIBLE_DEVICES", "TILTH_HOME",
    "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_CACHE_DIR", "UV_INDEX_CORP_PASSWORD",
    "UV_PYTHON_INSTALL_MIRROR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
]  # fmt: skip


@pytest.mark.parametrize("name", POISON)
def test_what_poisons_a_child_is_gone(name):
    assert name not in child_environment({name: "/x"}, **LINUX)


@pytest.mark.parametrize("name", KEPT)
def test_what_a_site_needs_stays(name):
    assert child_environment({name: "/x"}, **LINUX) == {name: "/x"}


@pytest.mark.parametrize(
    "where, environ, value, stays",
    [
        (WINDOWS, {"OSGEO4W_ROOT": r"C:\Program Files\QGIS 3.40"},
         r"C:\Program Files\QGIS 3.40\bin\curl-ca-bundle.crt", False),
        (WINDOWS, {"OSGEO4W_ROOT": r"C:\Program Files\QGIS 3.40"},
         r"c:\program files\qgis 3.40\bin\curl-ca-bundle.crt", False),
        (WINDOWS, {"OSGEO4W_ROOT": r"C:\Program Files\QGIS 3.40"}, r"C:\corp\ca.pem", True),
        (WINDOWS, {"OSGEO4W_ROOT": r"C:\Program Files\QGIS"},
         r"C:\Program Files\QGIS tools\ca.pem", True),
        (MAC, {}, "/Applications/QGIS.app/Contents/Resources/ssl/cert.pem", False),
        (MAC, {"PYTHONHOME": "/Applications/QGIS.app/Contents/Frameworks"},
         "/Applications/QGIS.app/Contents/Resources/ssl/cert.pem", False),
        (MAC, {}, "/etc/corp/ca.pem", True),
        (LINUX, {"QGIS_PREFIX_PATH": "/usr"}, "/usr/share/ca-certificates/corp.pem", True),
        (LINUX, {"QGIS_PREFIX_PATH": "/usr/"}, "/etc/ssl/certs/ca-certificates.crt", True),
        (LINUX, {"QGIS_PREFIX_PATH": "/opt/qgis"}, "/opt/qgis/ssl/cacert.pem", False),
        (LINUX, {"APPDIR": "/tmp/.mount_QGIS"}, "/tmp/.mount_QGIS/usr/ssl/cacert.pem", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_go_only_where_they_point_into_qgis(where, environ, value, stays, name):
    assert (name in child_environment({**environ, name: value}, **where)) is stays


def test_qgis_own_programs_leave_the_path_on_windows():
    root = r"C:\Program Files\QGIS 3.40"
    path = ";".join([root + r"\bin", r"C:\Windows\System32", root + r"\apps\Python312"])
    cleaned = child_environment({"Path": path, "OSGEO4W_ROOT": root}, **WINDOWS)
    assert cleaned["Path"] == r"C:\Windows\System32"


def test_the_path_stays_on_linux():
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "QGIS_PREFIX_PATH": "/usr"}
    assert child_environment(environ, **LINUX) == {"PATH": environ["PATH"]}


def test_no_console_window_and_a_group_of_its_own():
    assert spawn_options("win32") == {"creationflags": 0x08000000 | 0x00000200}
    assert spawn_options("linux") == {"start_new_session": True}
    assert spawn_options("darwin") == {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        assert spawn_options()["creationflags"] == flags


def test_output_of_a_command_that_works_fails_or_is_missing(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # would stop any Python from starting
    assert output_of([sys.executable, "-c", "print('works')"], 20).strip() == "works"
    assert output_of([sys.executable, "-c", "raise SystemExit(3)"], 20) == ""
    assert output_of([sys.executable, "-c", "import time; time.sleep(30)"], 0.5) == ""
    assert output_of(["/nowhere/nvidia-smi"], 5) == ""
