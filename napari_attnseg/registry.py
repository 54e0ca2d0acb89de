"""A registry finds parts of one kind, one file each, in one folder."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

Part = TypeVar("Part")


class UnknownPartError(KeyError):
    """A name that no registered part has; the message lists the names there are."""

    def __init__(self, kind: str, name: str, names: list[str]) -> None:
        self.kind, self.name, self.names = kind, name, names
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"There is no {kind} named {name!r}.{hint} Known: {', '.join(names)}.")

    def __str__(self) -> str:
        # KeyError shows the repr of its message, with quotes and escapes.
        return str(self.args[0])


class Registry(Mapping[str, Part], Generic[Part]):
    """Parts of one kind by name.

    The modules of ``package`` are imported at the first look-up, so a part is added by adding its
    file, and importing the registry costs nothing.

    Args:
        kind: What one part is called in messages, such as ``"backbone"``.
        package: Dotted name of the package that holds one module a part.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._parts: dict[str, Part] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[Part], Part]:
        """Return a decorator that enters a part under ``name``.

        Raises:
            ValueError: If the name is already taken by another part.
        """

        def enter(part: Part) -> Part:
            if name in self._parts:
                raise ValueError(f"The {self.kind} name {name!r} is already taken.")
            self._parts[name] = part
            return part

        return enter

    def __getitem__(self, name: str) -> Part:
        self._discover()
        if name not in self._parts:
            raise UnknownPartError(self.kind, name, sorted(self._parts))
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(sorted(self._parts))

    def __len__(self) -> int:
        self._discover()
        return len(self._parts)

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
