"""The module of a public class: the package that exports it, so that pickles survive moves within the package."""

from __future__ import annotations

from typing import Any


def at_home(package: dict[str, Any]) -> None:
    """Make a package, given as its `globals()`, the module of the classes that it exports from its own modules."""
    name = package["__name__"]
    for offered in package["__all__"]:
        kind = package.get(offered)
        if isinstance(kind, type) and kind.__module__.startswith(f"{name}."):
            kind.__module__ = name
