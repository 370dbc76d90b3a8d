"""The foot of the dock: what the engine runs on, its state, and what can be done about it."""

from __future__ import annotations

from typing import Any, Dict, List

from qgis.core import Qgis
from qgis.PyQt.QtCore import QObject
from qgis.PyQt.QtWidgets import QMenu, QMessageBox

from ..environment import explain
from ..environment.paths import home
from . import icons
from .engine_panel import EnginePanel
from .opening import open_file
from .session import Session
from .ui_file import make_quiet


class Footer(QObject):
    """Drives the footer's widgets of the dock's contents."""

    def __init__(self, contents: Any, session: Session, panel: EnginePanel) -> None:
        super().__init__(contents)
        self._contents = contents
        self._session = session
        self._panel = panel
        make_quiet(contents.deviceLabel, contents.engineLabel)
        contents.engineButton.setIcon(icons.theme("mActionOptions.svg"))
        self._menu = QMenu(contents)
        self._menu.aboutToShow.connect(self._fill_menu)
        contents.engineButton.setMenu(self._menu)
        session.engine.changed.connect(self.refresh)
        session.described.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the state as it is now."""
        contents, engine = self._contents, self._session.engine
        device, tip = self._device()
        contents.deviceLabel.setText(device)
        contents.deviceLabel.setToolTip(tip)
        contents.deviceIcon.setToolTip(tip)
        icon, text = "mIconSuccess.svg", self.tr("Engine ready")
        if engine.busy:
            # The panel says whether it is installed, looked at or removed.
            icon, text = "mActionRefresh.svg", self.tr("Engine busy…")
        elif engine.state == "broken":
            icon, text = "mIconWarning.svg", self.tr("Engine broken")
        elif engine.state == "absent":
            icon, text = "mIconInfo.svg", self.tr("No engine yet")
        elif self._session.asking:
            icon, text = "mActionRefresh.svg", self.tr("Starting…")
        contents.deviceIcon.setPixmap(icons.theme(icon).pixmap(14, 14))
        contents.engineLabel.setText(text)
        contents.engineLabel.setToolTip(engine.reason or str(engine.python() or ""))

    def _device(self) -> Any:
        devices = self._session.devices()
        if not devices:
            return "", ""
        default = self._session.description.get("default_device")
        used = next((d for d in devices if d.get("id") == default), devices[0])
        return self.tr("Runs on {}").format(used.get("label")), self._tip(devices)

    def _tip(self, devices: List[Dict[str, Any]]) -> str:
        lines = []
        for device in devices:
            words = self.tr("supported") if device.get("supported") else self.tr("not supported")
            reason = f" ({device['reason']})" if device.get("reason") else ""
            lines.append(f"{device.get('label')}: {words}{reason}")
        return "\n".join(lines)

    def _fill_menu(self) -> None:
        engine, menu = self._session.engine, self._menu
        menu.clear()
        idle = not engine.busy
        if engine.state == "ready":
            again = menu.addAction(self.tr("Look at the engine again"), self._renew)
            again.setEnabled(idle)
        else:
            words = self.tr("Install the engine ({})").format(engine.size)
            menu.addAction(words, engine.install).setEnabled(idle)
        menu.addAction(self.tr("Use my own Python…"), self._panel.ask_own_python).setEnabled(idle)
        if engine.own:
            own = menu.addAction(self.tr("Stop using my own Python"), engine.stop_own_python)
            own.setEnabled(idle)
        else:
            remove = menu.addAction(self.tr("Remove the engine…"), self._ask_remove)
            remove.setEnabled(idle and engine.folder.exists())
        menu.addSeparator()
        menu.addAction(self.tr("Open Tilth's folder"), self._open_home)

    def _renew(self) -> None:
        self._session.renew()

    def _open_home(self) -> None:
        try:
            home().mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._session.tell(explain.refused(error), Qgis.MessageLevel.Warning)
            return
        open_file(home())

    def _ask_remove(self) -> None:
        if not self._session.engine.can_remove():
            return
        question = self.tr(
            "Remove Tilth's engine? Adapters stay; the engine can be installed again.\n{}"
        ).format(self._session.engine.folder)
        answer = QMessageBox.question(self._contents, self.tr("Remove the engine"), question)
        if answer == QMessageBox.StandardButton.Yes:
            self._session.engine.remove(self._session.pool.end_idle)
