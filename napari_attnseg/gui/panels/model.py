"""Model: a trained run, or a new network, drawn as it was built and with what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.panel import PANELS, Panel, allow, button
from napari_attnseg.gui.widgets.choice import Choice, Places
from napari_attnseg.gui.widgets.drawing import NetworkDrawing
from napari_attnseg.gui.widgets.fold import fold
from napari_attnseg.gui.words import sizes

PRESETS = {"plan": "fitted to the cases", "tiny": "tiny", "paper": "as published"}


@PANELS.register("model")
class ModelPanel(Panel):
    """Choose the network: any backbone with any attention that suits it."""

    title = "Model"
    order = 1

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.trained = QRadioButton("Use a trained model")
        self.new = QRadioButton("New model")
        self._kinds = QButtonGroup(self)
        self._run: Any = None
        self.runs = Choice(self._choose_run)
        self.load = button("Load…", self._ask_file, "A run folder, or the weights in it")
        self.backbone = Choice(lambda name: self._choose(backbone=name, sites=()))
        self.attention = Choice(lambda name: self._choose(attention=name, sites=()))
        self.backbone_note, self.attention_note = _note(), _note()
        self.places = Places(lambda sites: self._choose(sites=sites))
        self.dims = Choice(lambda dims: self._choose(dims=int(dims)))
        self.preset = Choice(lambda name: self._choose(preset=name))
        self.drawing = NetworkDrawing()
        self.facts = _note()
        self._lay_out()
        self._connect()
        self._run_changed(self.session.model.run)

    def main_button(self) -> QPushButton:
        """Return the button that loads a file."""
        return self.load

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.runs, 1)
        row.addWidget(self.load)
        self.column.addWidget(self.trained)
        self.column.addLayout(row)
        self.column.addWidget(self.new)
        self.form = QWidget()
        form = QFormLayout(self.form)
        form.setContentsMargins(16, 0, 0, 0)
        form.setVerticalSpacing(3)
        form.addRow("Backbone", _with_note(self.backbone, self.backbone_note))
        form.addRow("Attention", _with_note(self.attention, self.attention_note))
        form.addRow("Where", self.places)
        self.column.addWidget(self.form)
        self.more = fold("Size and dimensions")
        inner = QWidget()
        more = QFormLayout(inner)
        more.setContentsMargins(16, 0, 0, 0)
        more.addRow("Dimensions", self.dims)
        more.addRow("Size", self.preset)
        self.more.addWidget(inner)
        self.column.addWidget(self.more)
        self.column.addWidget(self.drawing)
        self.column.addWidget(self.facts)
        self.column.addStretch(1)

    def _connect(self) -> None:
        for one in (self.trained, self.new):
            self._kinds.addButton(one)
        self.new.setChecked(True)
        self._kinds.buttonClicked.connect(lambda _: self._kind_chosen())
        model = self.session.model
        model.catalogue_changed.connect(self._refresh)
        model.config_changed.connect(lambda _: self._refresh())
        model.described.connect(lambda _: self._refresh())
        self.session.costs.changed.connect(self._show_network)
        model.runs_changed.connect(self._refresh)
        model.run_changed.connect(self._run_changed)
        self.session.cases.case_opened.connect(lambda _: self._refresh())

    def _choose(self, **changes: Any) -> None:
        self.new.setChecked(True)
        model = self.session.model
        config = model.config.replace(**changes)
        if model.reason_against(config.backbone, config.attention, config.dims):
            dims = model.part("backbones", config.backbone).get("dims") or [config.dims]
            fits = [
                d for d in dims if not model.reason_against(config.backbone, config.attention, d)
            ]
            changes |= {"dims": fits[-1]} if fits else {"attention": "none", "sites": ()}
        model.choose(**changes)

    def _choose_run(self, run_id: str) -> None:
        self.trained.setChecked(True)
        self.session.model.use_run(run_id)

    def _kind_chosen(self) -> None:
        if self.trained.isChecked() and self.runs.currentData():
            self.session.model.use_run(str(self.runs.currentData()))
        self._refresh()

    def _run_changed(self, run: Any) -> None:
        # The first run of a project is what a person wants to go on with.
        if (run is None) != (self._run is None):
            (self.new if run is None else self.trained).setChecked(True)
        self._run = run
        self._refresh()

    def _ask_file(self) -> None:
        found, _ = QFileDialog.getOpenFileName(
            self, "Load a trained run", "", "Weights or settings (*.safetensors config.json)"
        )
        if found:
            self.trained.setChecked(True)
            self.session.model.load_file(Path(found))

    def _refresh(self) -> None:
        model = self.session.model
        usable = [run for run in model.runs if run.has_weights]
        entries = [(run.id, run.title, str(run.path)) for run in reversed(usable)]
        self.runs.set_entries(entries)
        if model.run is not None:
            self.runs.choose(model.run.id)
        none = "" if usable else "Nothing has been trained yet: train a new model, or load one."
        allow(self.trained, none, "Segment and explain with a run, or let it learn on")
        allow(self.runs, none)
        self._show_choices()
        self._show_network()

    def _show_choices(self) -> None:
        model, config = self.session.model, self.session.model.config
        catalogue = model.catalogue
        reason = "" if catalogue else "The networks are being read."
        if not reason and self.trained.isChecked():
            reason = "A trained model is used as it is. Choose New model to change this."
        for part in (self.form, self.more):
            part.setEnabled(not reason)
            part.setToolTip(reason)
        self.backbone.set_entries(_entries(catalogue.get("backbones", ())))
        attentions = _entries(catalogue.get("attentions", ()))
        reasons = {
            name: self._reason(config.backbone, name, config.dims) for name, _, _ in attentions
        }
        attentions.sort(key=lambda entry: entry[0] != "none")
        self.attention.set_entries(attentions, reasons)
        backbone = model.part("backbones", config.backbone)
        dims = backbone.get("dims") or [config.dims]
        self.dims.set_entries([(str(d), _DIMS.get(d, str(d)), "") for d in dims])
        presets = {one["name"]: one.get("summary", "") for one in backbone.get("presets", ())}
        names = ["plan", *(name for name in presets if name != "plan")]
        self.preset.set_entries([(n, PRESETS.get(n, n), presets.get(n, "")) for n in names])
        for menu, value in (
            (self.backbone, config.backbone),
            (self.attention, config.attention),
            (self.dims, str(config.dims)),
            (self.preset, config.preset),
        ):
            menu.choose(value)
        self.backbone_note.setText(str(backbone.get("summary", "")))
        attention = model.part("attentions", config.attention)
        self.attention_note.setText(str(attention.get("summary", "")))
        self._show_places(backbone, attention)

    def _reason(self, backbone: str, attention: str, dims: int) -> str:
        """Return why a module cannot be had with a backbone in any number of dimensions."""
        model = self.session.model
        all_dims = model.part("backbones", backbone).get("dims") or [dims]
        reasons = [model.reason_against(backbone, attention, one) for one in all_dims]
        return "" if any(reason is None for reason in reasons) else str(reasons[0])

    def _show_places(self, backbone: dict[str, Any], attention: dict[str, Any]) -> None:
        model, config = self.session.model, self.session.model.config
        fits = model.sites(config.backbone, config.attention, config.dims)
        places = {}
        for place in backbone.get("sites", ()):
            if config.attention == "none":
                places[place] = "Choose an attention module first."
            elif place not in fits:
                suited = " and ".join(attention.get("sites", ())) or "nowhere here"
                name = attention.get("title", config.attention)
                places[place] = f"{name} does not suit this place; it suits: {suited}."
            else:
                places[place] = ""
        chosen = {site.partition(":")[0] for site in config.sites}
        default = [one for one in attention.get("default_sites", ()) if one in fits]
        self.places.set_places(places, sorted(chosen) or default)

    def _show_network(self) -> None:
        model = self.session.model
        if self.trained.isChecked() and model.run is not None:
            shown, problem = model.run_description, ""
            settings = {"run": str(model.run.path)}
        else:
            shown, problem = model.description, model.description_problem
            settings = model.sized_by()
        self.session.costs.want(shown, settings)
        self.drawing.show_network(shown, problem or "The network is being built…")
        self.facts.setText(problem if shown is None else self._cost(shown))

    def _cost(self, description: dict[str, Any]) -> str:
        parts = [_parameters(int(description["parameters"]))]
        fields = [level.get("receptive_field_dhw") for level in description.get("levels", ())]
        seen = [max(field) for field in fields if field]
        case = self.session.cases.case
        spacing = description.get("spacing_dhw") or (case and case.image.spacing_dhw)
        if seen and spacing:
            parts.append(f"sees {sizes((max(seen) * min(spacing),))} mm")
        elif seen:
            parts.append(f"sees {max(seen):.0f} voxels")
        return " · ".join([*parts, *self.session.costs.words()])


_DIMS = {2: "slice by slice", 3: "whole volumes"}


def _entries(parts: Any) -> list[tuple[str, str, str]]:
    return [(one["name"], one.get("title", one["name"]), one.get("summary", "")) for one in parts]


def _parameters(number: int) -> str:
    if number >= 1_000_000:
        return f"{number / 1e6:.1f} M parameters"
    return f"{number / 1e3:.0f} k parameters"


def _note() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setStyleSheet("color: #9AA3AF; font-size: 11px;")
    return label


def _with_note(widget: QWidget, note: QLabel) -> QWidget:
    holder = QWidget()
    column = QVBoxLayout(holder)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(1)
    column.addWidget(widget)
    column.addWidget(note)
    return holder
