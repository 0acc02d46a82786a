"""A fit in two programs: a lean one first, and the whole one only where the lean one does not suffice.

XLA compiles each kernel of a CPU program by itself, some 6 ms each whatever it does, and most kernels of a fit are for
what most data do not need: a rank-deficient design, residuals in double-word arithmetic, a loss without a minimum.  A
verb that is called with arrays on a CPU runs a program without that work first; it notes whether the work would have
been needed, and only then does the whole program follow.  Under `jit`, `vmap` and `grad`, over a mesh and on
accelerators, where a look at the answer would be a wait, it is the whole program at once.

A program that makes several fits, such as a cross-validation, is in two stages too: its fits are `noted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxinfra._core import loop

S = TypeVar("S")


class Rare:
    """The rare work of a fit, outside of its loops: done in the whole program, only noted in the lean one."""

    def __init__(self, *, lean: bool) -> None:
        self.lean = lean
        self.needed: jax.Array | bool = False

    def when(self, pred: jax.Array, fn: Callable[[S], S], state: S) -> S:
        """The value `fn(state)` if `pred` else `state`: see `loop.when`."""
        self.note(pred)
        return state if self.lean else loop.when(pred, fn, state)

    def note(self, pred: jax.Array) -> None:
        """Note that the whole program is needed where `pred` holds."""
        if self.lean:
            self.needed |= jnp.any(pred)


WHOLE = Rare(lean=False)
# What the fits of a lean program that is being traced are noted in.
_NOTES: ContextVar[Rare | None] = ContextVar("notes", default=None)


@contextmanager
def _noting_in(notes: Rare | None) -> Iterator[None]:
    token = _NOTES.set(notes)
    try:
        yield
    finally:
        _NOTES.reset(token)


def noted(fit: Callable[..., S], rare: Rare) -> Callable[..., tuple[S, jax.Array]]:
    """A function like the verb `fit`, for use under `vmap` in a staged program: its result, and what to `note`.

    In the lean program a verb of the library is lean; a fit of other modules, which may make several, is whole.
    """

    @wraps(fit)
    def call(*args: Any, **kwargs: Any) -> tuple[S, jax.Array]:
        notes = Rare(lean=rare.lean and fit.__module__.partition(".")[0] == __name__.partition(".")[0])
        with _noting_in(notes):
            found = fit(*args, **kwargs)
        return found, jnp.asarray(notes.needed)

    return call


def staged(
    *, static: tuple[str, ...], lean_for: Callable[..., bool] = lambda *_, **__: True
) -> Callable[[Callable[..., S]], Callable[..., S]]:
    """A decorator for `fit(*arrays, rare, **static)`, compiled as the module says; calls leave `rare` out.

    lean_for: whether the lean program may suffice for arguments of these shapes and dtypes.
    """

    def decorate(fit: Callable[..., S]) -> Callable[..., S]:
        def program(lean: bool) -> Callable[..., Any]:
            @wraps(fit)
            def run(*arrays: Any, **options: Any) -> Any:
                rare = Rare(lean=lean)
                found = fit(*arrays, rare=rare, **options)
                return (found, jnp.asarray(rare.needed)) if lean else found

            return jax.jit(run, static_argnames=static)

        lean, whole = program(True), program(False)

        @wraps(fit)
        def call(*arrays: Any, **options: Any) -> S:
            if not lean_for(*arrays, **options):
                return whole(*arrays, **options)
            if (notes := _NOTES.get()) is not None and notes.lean:
                with _noting_in(None):  # fits within this one are of another trace
                    found, needed = lean(*arrays, **options)
                notes.note(needed)
                return found
            if at_hand(arrays):
                found, needed = lean(*arrays, **options)
                # Traced where the verb is called on constants within a traced function.
                if not isinstance(needed, jax.core.Tracer) and not needed:
                    return found
            return whole(*arrays, **options)

        return call

    return decorate


def at_hand(arrays: Any) -> bool:
    """Whether all arrays are there, on one CPU device."""
    for leaf in jax.tree.leaves(arrays):
        if isinstance(leaf, jax.core.Tracer):
            return False
        if isinstance(leaf, jax.Array):
            devices = leaf.devices()
            if len(devices) > 1 or next(iter(devices)).platform != "cpu":
                return False
    return jax.default_backend() == "cpu"
