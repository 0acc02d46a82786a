"""Where a public class is found: in the package that offers it, so that what is pickled outlives moves within it."""

from __future__ import annotations

from typing import Any


def at_home(package: dict[str, Any]) -> None:
    """Make a package, given as its `globals()`, the module of the classes that it offers from within itself."""
    name = package["__name__"]
    for offered in package["__all__"]:
        kind = package.get(offered)
        if isinstance(kind, type) and kind.__module__.startswith(f"{name}."):
            kind.__module__ = name
