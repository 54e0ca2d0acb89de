"""The methods there are, with what can be chosen about each."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from napari_attnseg.config import Config, ConfigError
from napari_attnseg.explanation.contract import METHODS, ExplainError, Method

DEFAULT_METHOD = "layer-cam"
"""Measured best on a trained network (tests/benchmarks/faithfulness.py), at `default_layer`."""


def list_methods() -> dict[str, str]:
    """Return the methods by name, each with one sentence about it; the default comes first."""
    names = sorted(METHODS, key=lambda name: (name != DEFAULT_METHOD, name))
    return {name: (inspect.getdoc(METHODS[name]) or "").splitlines()[0] for name in names}


def describe_methods() -> list[dict[str, Any]]:
    """Return all that a form needs to know of each method, JSON-ready; the default comes first.

    ``space`` is ``"layer"`` or, where no layer is to be chosen, ``"input"``. ``options`` have
    ``name, default, help, choices, minimum, maximum`` and ``type``.
    """
    return [
        {
            "name": name,
            "title": METHODS[name].title,
            "summary": summary,
            "space": "input" if METHODS[name].is_input else "layer",
            "options": _options(METHODS[name].Options),
        }
        for name, summary in list_methods().items()
    ]


def make_method(name: str | None, options: Mapping[str, Any] | None = None) -> Method:
    """Return a method by name, with options other than its defaults.

    Args:
        name: One of `METHODS`; None is the default one.
        options: By name; texts are read as what the option is.

    Raises:
        ExplainError: If the method has no such option, or the value is none that it can have.
        UnknownPartError: If there is no such method.
    """
    kind = METHODS[name or DEFAULT_METHOD]
    try:
        return kind(**_read(kind.Options, options or {}))
    except ConfigError as error:
        there = ", ".join(one.name for one in dataclasses.fields(kind.Options)) or "none"
        raise ExplainError(f"{kind.title}: {error} Its options: {there}.") from error


def option_tag(method: Method) -> str:
    """Return what tells a map from one with default options in a file's name; may be empty."""
    default = type(method).Options().to_dict()
    chosen = method.options.to_dict()
    return "_".join(f"{key}-{value}" for key, value in chosen.items() if value != default[key])


def _options(kind: type[Config]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "default": one.default,
            "type": _type_of(kind, one.name).__name__,
            **{key: one.metadata[key] for key in ("help", "choices", "minimum", "maximum")},
        }
        for one in dataclasses.fields(kind)
    ]


def _type_of(kind: type[Config], name: str) -> type:
    """Return the type of an option's values, None aside."""
    hint = typing.get_type_hints(kind)[name]
    if isinstance(hint, types.UnionType):
        hint = next(one for one in typing.get_args(hint) if one is not type(None))
    return typing.cast("type", hint)


def _read(kind: type[Config], options: Mapping[str, Any]) -> dict[str, Any]:
    names = [one.name for one in dataclasses.fields(kind)]
    return {
        key: _value(_type_of(kind, key), value, key) if key in names else value
        for key, value in options.items()
    }


def _value(kind: type, value: Any, name: str) -> Any:
    if value is None or kind is str:
        return value
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise ConfigError(f"{name} is {value!r}; use true or false.")
        return value.lower() in ("true", "yes", "1")
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is {value!r}, which is no {kind.__name__}.") from error
