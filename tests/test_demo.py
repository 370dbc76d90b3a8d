"""The demo's own parts that need no QGIS."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import demo  # noqa: E402  a script, not a module of the project


def test_marked_lines_of_qgiss_output_are_shown_once_and_whole(tmp_path, capsys):
    log = tmp_path / "qgis.log"
    log.write_bytes(b"Warning 1: something\ndemo:  35%  epoch 1 done\ndemo:  6")
    told = demo.Told(log)

    told.show()
    assert capsys.readouterr().out == " 35%  epoch 1 done\n"

    with log.open("ab") as file:
        file.write("3%  epoch 2 – Größe\n".encode())
    told.show()
    told.show()
    assert capsys.readouterr().out == " 63%  epoch 2 – Größe\n"


def test_the_demo_in_qgis_marks_its_lines_so():
    text = (ROOT / "scripts" / "demo_in_qgis.py").read_text(encoding="utf-8")
    assert f'MARK = "{demo.MARK}"' in text
