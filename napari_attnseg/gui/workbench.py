"""The workbench: six panels in the order of the work, the jobs, and what just happened."""

from __future__ import annotations

import napari
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QKeySequence, QShortcut, QShowEvent
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QMessageBox,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_attnseg.gui.bench import bench_of
from napari_attnseg.gui.panel import Panel, panels_in_order, scrolling
from napari_attnseg.gui.view_bar import ViewBar
from napari_attnseg.gui.viewer.calm import keep_quiet
from napari_attnseg.gui.widgets.job_lines import JobLines
from napari_attnseg.gui.widgets.messages import Messages

HELP = """<h3>napari-attnseg</h3>
<p><b>For research use, not a medical device.</b></p>
<p>Cases: open volumes and label some. Model: choose a network. Train: let it learn. Segment: get
masks. Explain: see what it looked at. Evaluate: compare with labels.</p>
<table cellspacing="4">
<tr><td><b>Page Down, Page Up</b></td><td>next, previous case</td></tr>
<tr><td><b>Alt+1, Alt+2, Alt+3</b></td><td>axial, sagittal, coronal</td></tr>
<tr><td><b>Alt+V</b></td><td>volume</td></tr>
<tr><td><b>Alt+M</b></td><td>mask on or off</td></tr>
<tr><td><b>Alt+E</b></td><td>map on or off</td></tr>
<tr><td><b>Ctrl+Enter</b></td><td>the panel's main button</td></tr>
<tr><td><b>Esc</b></td><td>ends clicking a voxel, in Explain</td></tr>
</table>
<p>Images are shown the radiological way: the patient's right is at the left of the screen.
Letters at the edges say which side is which.</p>"""


class Workbench(QWidget):
    """The dock widget.

    Args:
        viewer: The viewer that it works in.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.bench = bench_of(viewer)
        self.session = self.bench.session
        self.panels: dict[str, Panel] = {}
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.tabBar().setExpanding(False)  # type: ignore[union-attr]
        self.tabs.setStyleSheet("QTabBar::tab { padding: 4px 6px; min-width: 20px; }")
        for kind in panels_in_order():
            panel = kind(self.bench)
            self.panels[kind.title] = panel
            self.tabs.addTab(scrolling(panel), kind.title)
        self.messages = Messages()
        self.jobs = JobLines(self.session.work.stop, self.session.work.dismiss)
        keep_quiet(self.jobs)
        self._build()
        self._connect()
        self._add_keys()
        self.refresh()
        self.session.model.load_catalogue()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the size of the dock when it opens."""
        return QSize(430, 760)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the size down to which everything can be used."""
        return QSize(380, 480)

    def panel(self, title: str) -> Panel:
        """Return a panel by its title."""
        return self.panels[title]

    def show_panel(self, title: str) -> None:
        """Bring a panel to the front."""
        self.tabs.setCurrentIndex(list(self.panels).index(title))

    def refresh(self) -> None:
        """Show the project, the machine, and which panels can be used."""
        project = self.session.cases.project
        self.project_button.setText(self.session.cases.worklist.name or "No project")
        path = str(project.path) if project is not None else "Open a folder, or try the sample"
        self.project_button.setToolTip(path)
        self.device_label.setText(device_words(self.session.model.device))
        for index, panel in enumerate(self.panels.values()):
            reason = panel.why_not()
            self.tabs.setTabEnabled(index, not reason)
            self.tabs.setTabToolTip(index, f"{panel.title}: {_lowered(reason)}" if reason else "")

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 - Qt's name
        """Take part in the main window as soon as there is one."""
        super().showEvent(event)
        self.bench.attach(self.window())

    def show_help(self) -> None:
        """Show the keys and what this program is not."""
        box = QMessageBox(self)
        box.setWindowTitle("napari-attnseg")
        box.setTextFormat(Qt.TextFormat.RichText)
        box.setText(HELP)
        self._help = box
        box.open()

    def _build(self) -> None:
        self.project_button = QToolButton()
        self.project_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.project_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.project_button.setStyleSheet("font-weight: bold; padding-right: 14px;")
        menu = QMenu(self.project_button)
        cases = self.panels["Cases"]
        for text, name in (
            ("Open folder…", "ask_folder"),
            ("Add files…", "ask_files"),
            ("Try the sample", "open_sample"),
        ):
            menu.addAction(text, getattr(cases, name))
        self.project_button.setMenu(menu)
        self.device_label = QLabel()
        self.device_label.setToolTip("What training and segmenting run on")
        help_button = QToolButton()
        help_button.setText("?")
        help_button.setToolTip("Keys and help. For research use, not a medical device")
        help_button.clicked.connect(self.show_help)
        header = QHBoxLayout()
        header.addWidget(self.project_button)
        header.addStretch(1)
        header.addWidget(self.device_label)
        header.addWidget(help_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(4)
        column.addLayout(header)
        column.addWidget(self.tabs, 1)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        self.view = ViewBar(self.bench)
        for widget in (self.view, line, self.jobs, self.messages):
            column.addWidget(widget)

    def _connect(self) -> None:
        session = self.session
        session.said.connect(self.messages.say)
        session.problem.connect(self.messages.report)
        session.work.changed.connect(lambda _: self.jobs.refresh(session.work.lines))
        session.model.catalogue_changed.connect(self.refresh)
        session.on_change(self.refresh)
        self.jobs.refresh(session.work.lines)
        self.tabs.currentChanged.connect(lambda index: list(self.panels.values())[index].opened())

    def _add_keys(self) -> None:
        bench = self.bench
        keys = {
            "PgDown": lambda: bench.open_neighbour(1),
            "PgUp": lambda: bench.open_neighbour(-1),
            "Alt+1": lambda: bench.planes.show("axial"),
            "Alt+2": lambda: bench.planes.show("sagittal"),
            "Alt+3": lambda: bench.planes.show("coronal"),
            "Alt+V": bench.planes.show_volume,
            "Alt+M": lambda: bench.layers.toggle("prediction"),
            "Alt+E": lambda: bench.layers.toggle("map"),
            "Ctrl+Return": self.press_main_button,
            "Ctrl+Enter": self.press_main_button,
        }
        self._keys = []
        for key, function in keys.items():
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(function)
            self._keys.append(shortcut)

    def press_main_button(self) -> None:
        """Press the main button of the panel at the front."""
        panel = list(self.panels.values())[self.tabs.currentIndex()]
        pressed = panel.main_button()
        if pressed is not None and pressed.isEnabled():
            pressed.click()


def device_words(device: dict[str, object]) -> str:
    """Return the machine in a few words, such as ``CPU, 2 cores, bfloat16``."""
    if not device:
        return ""
    is_cpu = str(device.get("device", "cpu")) == "cpu"
    parts = ["CPU" if is_cpu else str(device.get("name") or device["device"])]
    if is_cpu and device.get("cores"):
        parts.append(f"{device['cores']} cores")
    if device.get("precision"):
        parts.append(str(device["precision"]))
    return ", ".join(parts)


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
