"""Which PyTorch for which machine."""

from __future__ import annotations

import pytest
from tilth.plugin.environment import torch_build
from tilth.plugin.environment.torch_build import Gpu, choose, parse_gpus

NEW, OLD_12, ANCIENT = (580, 65, 6), (550, 54), (470, 82)


def gpu(capability, driver=NEW, name="card"):
    return Gpu(name, capability, driver)


@pytest.mark.parametrize(
    "platform, gpus, backends",
    [
        # PyPI's build on Linux is for CUDA 13.
        ("linux", [gpu((9, 0))], [""]),
        ("linux", [gpu((7, 5))], [""]),
        ("linux", [gpu((12, 0))], [""]),
        # CUDA 13 dropped Pascal and Volta.
        ("linux", [gpu((7, 0))], ["cu126", ""]),
        ("linux", [gpu((6, 1))], ["cu126", ""]),
        # A driver that is too old for CUDA 13.
        ("linux", [gpu((8, 6), OLD_12)], ["cu126", ""]),
        ("linux", [gpu((10, 0), (570, 26))], ["cu128", ""]),
        # No use of the card at all.
        ("linux", [gpu((10, 0), OLD_12)], ["cpu", ""]),
        ("linux", [gpu((8, 6), ANCIENT)], ["cpu", ""]),
        ("linux", [gpu((3, 5))], ["cpu", ""]),
        ("linux", [], ["cpu", ""]),
        # PyPI's build for Windows has no CUDA.
        ("win32", [gpu((8, 9))], ["cu130", ""]),
        ("win32", [gpu((6, 1))], ["cu126", ""]),
        ("win32", [gpu((8, 9), OLD_12)], ["cu126", ""]),
        ("win32", [gpu((8, 9), ANCIENT)], [""]),
        ("win32", [], [""]),
        ("darwin", [], [""]),
        # The best card decides.
        ("linux", [gpu((6, 1)), gpu((8, 6))], [""]),
    ],
)
def test_choice(platform, gpus, backends):
    choice = choose(platform, "x86_64", gpus)
    assert [build.backend for build in choice.builds] == backends
    assert all(build.text for build in choice.builds)


def test_arm_servers_take_pypi_s_build():
    assert [b.backend for b in choose("linux", "aarch64", [gpu((9, 0), OLD_12)]).builds] == [""]


@pytest.mark.parametrize(
    "gpus, words",
    [
        ([], "no NVIDIA"),
        ([gpu((3, 5), name="Tesla K40")], "Tesla K40 is too old"),
        ([gpu((8, 6), ANCIENT, "RTX A4000")], "RTX A4000 needs NVIDIA's driver 525"),
        ([gpu((10, 0), OLD_12)], "driver 570"),
    ],
)
def test_the_reason_for_the_processor_is_said(gpus, words):
    assert words in choose("linux", "x86_64", gpus).reason


def test_parsing_nvidia_smi():
    text = "NVIDIA H200, 9.0, 580.65.06\nQuadro, the old one, 6.1, 550.54\n"
    assert parse_gpus(text) == [
        Gpu("NVIDIA H200", (9, 0), (580, 65, 6)),
        Gpu("Quadro, the old one", (6, 1), (550, 54)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        'Field "compute_cap" is not a valid field to query.\n',
        "GeForce, [N/A], 390.0\n",
    ],
)
def test_a_driver_that_does_not_work_is_no_card(text):
    assert parse_gpus(text) == []


def test_no_nvidia_smi(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert torch_build.find_gpus() == []
