"""Frozen dataclasses as pytrees: numeric fields are leaves, static ones part of the structure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

import jax

T = TypeVar("T")


def static(**kwargs: Any) -> Any:
    """A field that is part of the program: another value compiles again."""
    return field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, field_specifiers=(static, field))
def pytree(kind: type[T]) -> type[T]:
    """A class as a frozen dataclass and pytree, with its fields as leaves except those that are `static`.

    Not `jax.tree_util.register_dataclass`: there two structures that differ in the class alone compare equal (JAX 0.10
    and 0.12), and JAX 0.10 looks up compiled functions by part of a hash and that comparison, so that occasionally the
    program of one class ran with an object of another.
    """
    kind = dataclass(frozen=True)(kind)
    leaves = [f.name for f in fields(kind) if not f.metadata.get("static")]  # type: ignore[arg-type]
    fixed = [f.name for f in fields(kind) if f.metadata.get("static")]  # type: ignore[arg-type]

    def flatten(node: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(node, name) for name in leaves), tuple(getattr(node, name) for name in fixed)

    def flatten_with_keys(node: T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple((jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in leaves), flatten(node)[1]

    def unflatten(values: tuple[Any, ...], children: Any) -> T:
        return kind(**dict(zip(leaves, children, strict=True)), **dict(zip(fixed, values, strict=True)))

    jax.tree_util.register_pytree_with_keys(kind, flatten_with_keys, unflatten, flatten)
    return kind
