"""The tests' own ground: a headless QGIS, and the clone as the package tilth."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def test_the_clone_is_the_package_tilth():
    import tilth.plugin.environment.state as state

    assert Path(state.__file__).resolve().is_relative_to(Path(__file__).resolve().parents[2])


def test_qgis_runs_headless_with_a_profile_of_its_own(qgis_app, project):
    from qgis.core import QgsProviderRegistry

    assert "ogr" in QgsProviderRegistry.instance().providerList()
    assert Path(os.environ["QGIS_CUSTOM_CONFIG_PATH"]) in Path(
        qgis_app.qgisSettingsDirPath()
    ).parents or qgis_app.qgisSettingsDirPath().startswith(os.environ["QGIS_CUSTOM_CONFIG_PATH"])


def test_nothing_of_the_engine_is_loaded():
    assert not {"torch", "rasterio", "peft", "timm"} & set(sys.modules)
