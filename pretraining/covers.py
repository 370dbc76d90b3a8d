"""The land-cover classes, what each is made of, and where in the world they go together."""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = (
    "water",
    "conifer forest",
    "broadleaf forest",
    "grassland",
    "shrub",
    "growing crop",
    "bare field",
    "ripe crop",
    "building",
    "paved",
    "rock",
    "sand",
    "snow",
    "wetland",
    "burnt",
)
CODE = {name: number for number, name in enumerate(CLASSES)}


@dataclass(frozen=True)
class Cover:
    """What a class is made of: materials, the ground beneath, and its texture.

    `closure` and `spread` are mean and deviation of the share that the material covers; `shade` is
    the share in shadow, and `grain` the size in metres of what casts it.
    """

    materials: tuple[str, ...]
    ground: tuple[str, ...]
    closure: float
    spread: float
    shade: float
    grain: float


_SOILS = ("soil_dark", "soil_brown", "soil_red", "soil_pale")
COVERS = (
    Cover(("water_clear", "water_turbid", "water_algae"), ("water_turbid",), 0.95, 0.04, 0.0, 5),
    Cover(("conifer", "pine"), ("litter", "moss", "grass_poor"), 0.85, 0.12, 0.38, 6),
    Cover(("broadleaf", "oak"), ("litter", "grass_poor"), 0.9, 0.10, 0.24, 10),
    Cover(("grass_green", "grass_poor", "grass_dry"), ("litter", *_SOILS), 0.85, 0.12, 0.03, 1),
    Cover(("shrub", "heath", "oak"), ("grass_dry", "litter", *_SOILS), 0.6, 0.2, 0.16, 3),
    Cover(("cereal", "maize", "beet"), _SOILS, 0.8, 0.10, 0.05, 1),
    Cover(_SOILS, ("litter", "stubble"), 0.9, 0.06, 0.02, 1),
    Cover(("crop_ripe", "stubble"), _SOILS, 0.75, 0.12, 0.03, 1),
    Cover(
        ("roof_red", "roof_dark", "concrete", "roof_metal", "roof_white", "plastic"),
        ("concrete", "asphalt", "grass_green", "broadleaf"),
        0.96,
        0.03,
        0.0,
        10,
    ),
    Cover(("asphalt", "concrete"), ("soil_brown", "concrete"), 0.9, 0.06, 0.0, 3),
    Cover(("rock_grey", "rock_red"), ("soil_pale", "litter", "moss"), 0.8, 0.12, 0.10, 8),
    Cover(("sand",), ("soil_pale", "grass_dry"), 0.92, 0.06, 0.02, 4),
    Cover(("snow",), ("rock_grey",), 0.93, 0.06, 0.0, 4),
    Cover(("reed", "moss"), ("water_turbid", "soil_dark", "water_algae"), 0.65, 0.18, 0.06, 2),
    Cover(("ash",), ("soil_brown", "litter", "grass_dry"), 0.8, 0.15, 0.10, 5),
)


@dataclass(frozen=True)
class Country:
    """A kind of landscape: how frequent natural classes are beside each other, and the shares
    (0 to 1, roughly) of farmland, of towns and of water.
    """

    natural: dict[str, float]
    farms: float
    towns: float
    water: float


COUNTRIES = (
    Country(
        {"broadleaf forest": 3, "grassland": 3, "conifer forest": 1, "wetland": 0.7, "shrub": 0.7},
        farms=0.55,
        towns=0.25,
        water=0.08,
    ),
    Country(
        {
            "conifer forest": 3,
            "broadleaf forest": 1.5,
            "grassland": 3,
            "shrub": 2,
            "rock": 0.6,
            "burnt": 0.3,
            "wetland": 0.5,
        },
        farms=0.15,
        towns=0.08,
        water=0.08,
    ),
    Country(
        {"shrub": 4, "rock": 3, "sand": 1.5, "conifer forest": 2, "grassland": 1, "burnt": 0.4},
        farms=0.08,
        towns=0.08,
        water=0.03,
    ),
    Country(
        {"rock": 3, "snow": 0.15, "grassland": 2, "conifer forest": 3, "shrub": 1},
        farms=0.03,
        towns=0.04,
        water=0.06,
    ),
    Country(
        {"sand": 1.5, "grassland": 2, "wetland": 2, "shrub": 1.5, "conifer forest": 1},
        farms=0.25,
        towns=0.2,
        water=0.3,
    ),
    Country(
        {"broadleaf forest": 2, "grassland": 3, "shrub": 0.5}, farms=0.15, towns=0.75, water=0.08
    ),
)
