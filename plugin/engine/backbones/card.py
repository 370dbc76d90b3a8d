"""What must be known of a backbone to use it: its card."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

NORMALISATIONS = ("image", "card")


@dataclass(frozen=True)
class Band:
    """A band that a backbone was trained on; `wavelength_nm` is None where it has none (radar).

    `group` names the bands that the backbone takes in together or leaves out together (a sensor,
    or a part of one); it is empty where each band stands for itself.
    """

    name: str
    wavelength_nm: float | None = None
    group: str = ""


@dataclass(frozen=True)
class Card:
    """Everything that the rest of the engine needs to know of a backbone.

    `normalisation` is "image" where each band is standardised by the image's own mean and standard
    deviation, "card" where `mean` and `std` (one value a band, in units of `value * scale`) serve.
    `lora_targets` are names of layers inside every block. `any_bands` means
    that `bands` is no demand: the backbone takes any band whose wavelength is known, and some whose
    isn't.

    `architecture` is a key of the catalogue's dictionary, `options` what its class needs to be
    built. `repository` is where the hub has `file`; empty where there is nothing to fetch.
    `revision` and `sha256` are empty where they aren't known. `binding` is true where the licence
    binds the user to more than naming the authors: it is shown and accepted before a download.
    `memory_gb` are the device's gigabytes for training (LoRA, a batch of 8) and for inference (one
    chip) at the native size, None where not measured. `several_dates` is how many dates it can
    take, `time_location` whether it can be told date and place.

    Raises ValueError, on making one, where the values contradict each other.
    """

    id: str
    title: str
    summary: str
    licence: str
    licence_url: str
    source: str
    file: str
    revision: str
    sha256: str
    bands: tuple[Band, ...]
    units: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalisation: str
    patch: int
    native_size: int
    ground_resolution_m: tuple[float, float]
    parameters: int
    lora_targets: tuple[str, ...]
    any_bands: bool
    citation: str
    architecture: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    repository: str = ""
    size_bytes: int = 0
    binding: bool = False
    memory_gb: tuple[float, float] | None = None
    several_dates: int = 1
    time_location: bool = False

    def __post_init__(self) -> None:
        """Refuse a card that no backbone could honour."""
        problems = list(_problems(self))
        if problems:
            raise ValueError(f"card of backbone {self.id!r}: " + "; ".join(problems))

    def to_dict(self) -> dict[str, Any]:
        """The card in types that JSON has; `from_dict` takes it back."""
        values = asdict(self)
        values["bands"] = list(values["bands"])
        for name in ("mean", "std", "lora_targets", "ground_resolution_m"):
            values[name] = list(values[name])
        values["memory_gb"] = None if self.memory_gb is None else list(self.memory_gb)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Card:
        """Make a card of what `to_dict` gave. Raises ValueError for missing or unknown fields."""
        known = {entry.name: entry for entry in fields(cls)}
        optional = {
            name
            for name, entry in known.items()
            if entry.default is not MISSING or entry.default_factory is not MISSING
        }
        missing, unknown = set(known) - optional - set(values), set(values) - set(known)
        if missing or unknown:
            raise ValueError(
                f"card with missing fields {sorted(missing)} and unknown fields {sorted(unknown)}"
            )
        try:
            return cls(**_typed(values))
        except (TypeError, KeyError) as error:
            raise ValueError(f"card with a field of the wrong kind: {error}") from error


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as the tuples that a frozen card holds, numbers as floats."""
    low, high = values["ground_resolution_m"]
    memory = values.get("memory_gb")
    return {
        **values,
        "bands": tuple(
            Band(str(band["name"]), _wavelength(band["wavelength_nm"]), str(band.get("group", "")))
            for band in values["bands"]
        ),
        "scale": float(values["scale"]),
        "mean": tuple(float(value) for value in values["mean"]),
        "std": tuple(float(value) for value in values["std"]),
        "lora_targets": tuple(str(name) for name in values["lora_targets"]),
        "ground_resolution_m": (float(low), float(high)),
        "memory_gb": None if memory is None else (float(memory[0]), float(memory[1])),
    }


def _wavelength(value: Any) -> float | None:
    """A wavelength in nm as a float, or None."""
    return None if value is None else float(value)


def _problems(card: Card) -> list[str]:
    """What is wrong with a card, as phrases; empty where nothing is."""
    found = []
    for name in ("id", "title", "licence", "file"):
        if not getattr(card, name):
            found.append(f"{name} is empty")
    if not re.fullmatch(r"([0-9a-f]{64})?", card.sha256):
        found.append("sha256 is not 64 hexadecimal digits")
    if card.normalisation not in NORMALISATIONS:
        found.append(f"normalisation is {card.normalisation!r}, not one of {NORMALISATIONS}")
    if card.normalisation == "card" and not len(card.bands) == len(card.mean) == len(card.std):
        found.append(f"{len(card.bands)} bands, {len(card.mean)} means, {len(card.std)} deviations")
    if any(value <= 0 or not math.isfinite(value) for value in (card.scale, *card.std)):
        found.append("scale and std must be positive numbers")
    if not card.bands and not card.any_bands:
        found.append("no bands, yet not any_bands")
    if card.patch < 1 or card.native_size < card.patch or card.native_size % card.patch:
        found.append(f"native size {card.native_size} is no multiple of patch {card.patch}")
    if not 0 < card.ground_resolution_m[0] <= card.ground_resolution_m[1]:
        found.append("ground_resolution_m is no range")
    if card.parameters < 1:
        found.append("parameters must be given")
    if card.several_dates < 1 or card.size_bytes < 0:
        found.append("several_dates and size_bytes must be numbers that make sense")
    return found
