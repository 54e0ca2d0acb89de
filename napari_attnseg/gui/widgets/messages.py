"""The status line: what just happened, and problems that stay until they were read."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_attnseg.session import Problem


class ProblemBox(QFrame):
    """One problem in words, with its details for the clipboard."""

    def __init__(self, problem: Problem, dismiss: object) -> None:
        super().__init__()
        self.problem = problem
        self.setObjectName("problem")
        self.setStyleSheet("#problem { border-left: 4px solid #D55E00; background: #3A2A22; }")
        self.text = QLabel(problem.text)
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setStyleSheet("color: #FFE3D0; background: transparent;")
        self.copy = QPushButton("Copy details")
        self.copy.setToolTip("Puts what a developer needs on the clipboard")
        self.copy.clicked.connect(self._copy)
        self.copy.setVisible(bool(problem.details))
        self.close_button = QToolButton()
        self.close_button.setText("×")
        self.close_button.setToolTip("Take this message away")
        self.close_button.clicked.connect(lambda: dismiss(self))  # type: ignore[operator]
        row = QHBoxLayout()
        row.addWidget(self.text, 1)
        row.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 4, 4)
        column.addLayout(row)
        column.addWidget(self.copy, 0, Qt.AlignmentFlag.AlignRight)

    def _copy(self) -> None:
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(f"{self.problem.text}\n\n{self.problem.details}")
        self.copy.setText("Copied")


class Messages(QWidget):
    """Says what just happened; problems stay above it until they are taken away."""

    AT_MOST = 2

    def __init__(self) -> None:
        super().__init__()
        self.boxes: list[ProblemBox] = []
        self.line = QLabel("Open a folder of volumes, or try the sample.")
        self.line.setWordWrap(True)
        self.line.setTextFormat(Qt.TextFormat.PlainText)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(3)
        self._column.addWidget(self.line)

    def say(self, text: str) -> None:
        """Show what just happened."""
        self.line.setText(text)

    def report(self, problem: Problem) -> None:
        """Show a problem until it is taken away."""
        if any(box.problem.text == problem.text for box in self.boxes):
            return
        box = ProblemBox(problem, self._remove)
        self.boxes.append(box)
        self._column.insertWidget(len(self.boxes) - 1, box)
        while len(self.boxes) > self.AT_MOST:
            self._remove(self.boxes[0])

    def _remove(self, box: ProblemBox) -> None:
        self.boxes.remove(box)
        self._column.removeWidget(box)
        box.hide()
        box.deleteLater()
