"""Runs inside a new environment, to see whether it really works: ``python -I probe.py MODULE …``.

Prints one line of JSON, the last of its output. Standard library only; what it checks is imported
by name.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any, Dict, List


def main(modules: List[str]) -> int:
    """Import each module and compute on each CUDA device."""
    loaded: Dict[str, Any] = {}
    failed: Dict[str, str] = {}
    for name in modules:
        try:
            loaded[name] = importlib.import_module(name)
        except Exception as error:  # whatever a broken binary raises is the finding
            failed[name] = f"{type(error).__name__}: {error}"
    result = {
        "python": sys.version.split()[0],
        "prefix": sys.prefix,
        "versions": {name: str(getattr(m, "__version__", "")) for name, m in loaded.items()},
        "failed": failed,
        "cuda": _cuda(loaded["torch"]) if "torch" in loaded else None,
    }
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    return 0


def _cuda(torch: Any) -> Dict[str, Any]:
    """The CUDA devices on which a sum comes out right; else the reason."""
    found: Dict[str, Any] = {"build": torch.version.cuda, "devices": [], "reason": ""}
    if not found["build"]:
        found["reason"] = "this build of PyTorch has no CUDA"
        return found
    try:
        if not torch.cuda.is_available():
            found["reason"] = "PyTorch finds no CUDA device that it can use"
        for index in range(torch.cuda.device_count()):
            if float((torch.ones(8, device=f"cuda:{index}") * 2).sum()) == 16.0:
                found["devices"].append(torch.cuda.get_device_name(index))
            else:
                found["reason"] = "a sum on the card came out wrong"
    except Exception as error:  # the driver's faults have many types; each means "not usable"
        found["reason"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
