"""A finished map as layers of the project."""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Union

from qgis.core import (
    Qgis,
    QgsContrastEnhancement,
    QgsLayerMetadata,
    QgsLayerTreeGroup,
    QgsLayerTreeNode,
    QgsMapLayer,
    QgsPalettedRasterRenderer,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsRasterRange,
    QgsSingleBandGrayRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from ..engine.errors import TilthError
from .numbering import numbered

NODATA = 0
_VERSION = "tilth/version"


def add_map(
    result: Dict[str, Any], project: QgsProject, iface: Any = None, group_name: str = ""
) -> QgsRasterLayer:
    """Add the map of a predict result to the project, styled, and its confidence unchecked.

    They go into a group named after the adapter, below what is drawn over all else; a further map
    is a new version beside the first. Raises TilthError where a file can't be read.
    """
    name = group_name or str(result.get("name") or "Tilth")
    layer = _opened(result["map"], "map")
    confidence = _opened(result["confidence"], "confidence") if result.get("confidence") else None
    style_map(layer, result.get("classes") or [])
    group = _group(project, name)
    version = _next_version(group)
    # The newest version lies on top; what it was mapped with lies below it.
    if confidence is not None:
        _style_confidence(confidence)
        _insert(confidence, project, group, "confidence", version, visible=False)
    _describe(layer, name, result)
    _insert(layer, project, group, "map", version, visible=True)
    # Another layer that becomes active takes the tools out of the hands of who draws.
    if iface is not None and not _editing(project):
        iface.setActiveLayer(layer)
    return layer


def is_ours(layer: QgsMapLayer) -> bool:
    """Whether a layer is a map of Tilth's or its confidence."""
    return layer.customProperty(_VERSION) is not None


def style_map(layer: QgsRasterLayer, classes: List[Dict[str, Any]]) -> None:
    """Give a classified raster its classes' names and colours; no data is transparent."""
    provider = layer.dataProvider()
    if not provider.sourceHasNoDataValue(1):
        provider.setUserNoDataValue(1, [QgsRasterRange(NODATA, NODATA)])
    entries = [
        QgsPalettedRasterRenderer.Class(
            int(entry["code"]), QColor(entry["colour"]), str(entry["name"])
        )
        for entry in classes
    ]
    layer.setRenderer(QgsPalettedRasterRenderer(provider, 1, entries))


def free_path(path: Union[str, Path], project: QgsProject) -> Path:
    """The path, or one with a number where that file or its confidence's is there already, or a
    layer of the project has it open."""
    wanted = Path(path).absolute()
    used = {_key(source) for source in _files_in_use(project)}

    def taken(file: Path) -> bool:
        # Unlike Path.exists, this doesn't raise where a folder may not be looked into.
        return _key(file) in used or os.access(file, os.F_OK)

    return numbered(wanted, lambda file: taken(file) or taken(confidence_path(file)))


def confidence_path(path: Path) -> Path:
    """Where the confidence of the map in this file goes."""
    return path.with_name(f"{path.stem}_confidence.tif")


def _opened(path: str, what: str) -> QgsRasterLayer:
    layer = QgsRasterLayer(str(path), what, "gdal")
    if not layer.isValid():
        raise TilthError(f"{what}: {path} can't be opened in QGIS; map again")
    return layer


def _group(project: QgsProject, name: str) -> QgsLayerTreeGroup:
    """The group of this name at the top level, a new one where there is none: below the vector
    layers at the top, so that a map doesn't hide the labels."""
    root = project.layerTreeRoot()
    children = root.children()
    for child in children:
        if isinstance(child, QgsLayerTreeGroup) and child.name() == name:
            return child
    return root.insertGroup(len(list(takewhile(_only_vectors, children))), name)


def _only_vectors(node: QgsLayerTreeNode) -> bool:
    """Whether a layer is a vector layer, or a group has such layers and no others."""
    nodes = node.findLayers() if isinstance(node, QgsLayerTreeGroup) else [node]
    return bool(nodes) and all(isinstance(found.layer(), QgsVectorLayer) for found in nodes)


def _editing(project: QgsProject) -> bool:
    layers = project.mapLayers().values()
    return any(isinstance(layer, QgsVectorLayer) and layer.isEditable() for layer in layers)


def _next_version(group: QgsLayerTreeGroup) -> int:
    """The first number above those of the maps that are there."""
    versions = [0]
    for node in group.findLayers():
        layer = node.layer()
        if layer is not None:
            versions.append(int(layer.customProperty(_VERSION, 0)))
    return max(versions) + 1


def _insert(
    layer: QgsRasterLayer,
    project: QgsProject,
    group: QgsLayerTreeGroup,
    name: str,
    version: int,
    visible: bool,
) -> None:
    layer.setName(name if version == 1 else f"{name} {version}")
    layer.setCustomProperty(_VERSION, version)
    project.addMapLayer(layer, False)
    node = group.insertLayer(0, layer)
    node.setItemVisibilityChecked(visible)
    node.setExpanded(visible)


def _describe(layer: QgsRasterLayer, name: str, result: Dict[str, Any]) -> None:
    """Say in the layer's metadata what it is and what made it."""
    metadata = QgsLayerMetadata(layer.metadata())
    names = ", ".join(str(entry["name"]) for entry in result.get("classes") or [])
    metadata.setTitle(f"{name}: classified map")
    metadata.setAbstract(f"Classes: {names}. Mapped by Tilth with the adapter {name!r}.")
    metadata.setType("dataset")
    metadata.setCrs(layer.crs())
    layer.setMetadata(metadata)
    layer.setCustomProperty("tilth/adapter", name)


def _style_confidence(layer: QgsRasterLayer) -> None:
    """Grey, from none (black) to full confidence (white): bytes are per cent, else it is 0 to 1."""
    provider = layer.dataProvider()
    most = 100.0 if provider.dataType(1) == Qgis.DataType.Byte else 1.0
    stretch = QgsContrastEnhancement(provider.dataType(1))
    algorithm = QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum
    stretch.setContrastEnhancementAlgorithm(algorithm, True)
    stretch.setMinimumValue(0.0)
    stretch.setMaximumValue(most)
    renderer = QgsSingleBandGrayRenderer(provider, 1)
    renderer.setContrastEnhancement(stretch)
    layer.setRenderer(renderer)


def _files_in_use(project: QgsProject) -> Iterator[Path]:
    """The files that layers of the project read."""
    registry = QgsProviderRegistry.instance()
    for layer in project.mapLayers().values():
        parts = registry.decodeUri(layer.providerType(), layer.source())
        path = parts.get("path")
        if path:
            yield Path(str(path))


def _key(path: Path) -> str:
    """A name that two paths share when they are one file."""
    return os.path.normcase(os.path.realpath(path))
