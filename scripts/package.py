"""The plugin as one zip that QGIS installs, in dist/: what belongs to it, the same each time."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent
FILES = ("__init__.py", "metadata.txt", "LICENSE", "README.md", "CHANGELOG.md")
FOLDERS = ("plugin", "ui", "resources", "docs")
LEFT_OUT = ("__pycache__", ".pyc", ".qgs~", ".aux.xml")
LIMIT_BYTES = 25_000_000  # what plugins.qgis.org accepts
SAME_DATE = (2026, 1, 1, 0, 0, 0)


def files() -> Iterator[Path]:
    """The plugin's files, relative to the root, sorted."""
    for name in FILES:
        yield Path(name)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *FOLDERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = sorted(name for name in listed.stdout.split("\0") if name)
        yield from (Path(name) for name in names if (ROOT / name).is_file())
        return
    for folder in FOLDERS:  # an unpacked archive, without git
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and not any(part in str(path) for part in LEFT_OUT):
                yield path.relative_to(ROOT)


def build(folder: Path) -> Path:
    """Write tilth-VERSION.zip into ``folder``."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(ROOT / "metadata.txt", encoding="utf-8")
    target = folder / f"tilth-{metadata['general']['version']}.zip"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files():
            entry = zipfile.ZipInfo(f"tilth/{path.as_posix()}", SAME_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (ROOT / path).read_bytes())
    return target


def main() -> int:
    """Write it into dist/; 1 when it is too large."""
    target = build(ROOT / "dist")
    size = target.stat().st_size
    print(f"{target}  ({size / 1e6:.2f} MB)")
    if size > LIMIT_BYTES:
        print(f"The zip is larger than the {LIMIT_BYTES} bytes that are accepted", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
