"""Tilth's version, the same as in pyproject.toml and metadata.txt."""

VERSION = "0.1.0"
