"""Tilth's default against a random forest with the same labels: issue 2's acceptance figures."""

from __future__ import annotations

import argparse

from harness import Setup, run_all
from scenes import aberystwyth, zion


def main() -> None:
    """Run what is missing of five seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    setups = [Setup("forest", "forest"), Setup("tilth", options={"epochs": options.epochs})]
    run_all("accuracy", [aberystwyth(), zion()], setups, list(range(options.seeds)), options.jobs)


if __name__ == "__main__":
    main()
