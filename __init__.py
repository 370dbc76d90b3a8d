"""Tilth: what QGIS loads."""


def classFactory(iface):  # noqa: N802 (QGIS's name)
    """The plugin, for QGIS's plugin manager."""
    from .plugin.tilth_plugin import TilthPlugin

    return TilthPlugin(iface)
