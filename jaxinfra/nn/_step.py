"""The compiled part of training: many steps in one `scan`, on one device or data-parallel over a mesh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxinfra.nn import _metrics


class State(NamedTuple):
    """The state of the steps.  bad: the first step whose loss or update was not finite, -1 while there is none."""

    params: Any
    optimizer: Any
    average: Any
    step: jax.Array
    bad: jax.Array


@dataclass(frozen=True)
class Plan:
    """The static part of a compiled step; hashable, so that a second run with the same plan compiles nothing.

    keywords: those of "key" and "mask" that `apply` takes.
    precision: the dtype of the forward and backward pass, or None for that of the parameters.
    augment: (key, x) -> x, applied to a batch in training, or None.
    steps: whether each step of x has a prediction.
    """

    apply: Any
    loss: Any
    optimizer: Any
    keywords: tuple[str, ...]
    precision: str | None
    mesh: Any
    augment: Any = None
    steps: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the mesh that batches are spread over."""
        return () if self.mesh is None else tuple(self.mesh.axis_names)


@cache
def named_optimizer(name: str, clip: float | None, schedule: Any, dtype: str) -> Any:
    """An optax optimizer by its name; a rate that is a number is in its state, so that a new one compiles nothing."""
    make = getattr(optax, name, None)
    if make is None:
        raise ValueError(f"train.fit: optax has no optimizer {name!r}; give its name, or the optimizer itself")
    rate = 0.0 if schedule is None else schedule
    rule = make(rate) if schedule is not None else optax.inject_hyperparams(make, hyperparam_dtype=dtype)(rate)
    return rule if clip is None else optax.chain(optax.clip_by_global_norm(clip), rule)


@cache
def clipped(optimizer: Any, clip: float | None) -> Any:
    """The user's optimizer after clipping; cached, so that the same one is the same program."""
    return optimizer if clip is None else optax.chain(optax.clip_by_global_norm(clip), optimizer)


@contextmanager
def optax_promotion() -> Iterator[None]:
    """JAX's standard promotion, which optax relies on, whatever the user has set."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def wide(tree: Any) -> Any:
    """Narrow floats as float32, for optimizers: 0.999 is 1 in bfloat16, and 1e-4 squared is 0 in float16."""

    def leaf(a: Any) -> Any:
        dtype = jnp.result_type(a)
        return a.astype(jnp.float32) if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4 else a

    return jax.tree.map(leaf, tree)


def like(tree: Any, other: Any) -> Any:
    """The leaves of one pytree in the dtypes of another."""
    return jax.tree.map(lambda a, b: a if a.dtype == b.dtype else a.astype(b.dtype), tree, other)


def forward(plan: Plan, params: Any, x: Any, mask: Any, key: Any) -> jax.Array:
    """The logits, in float32 or wider, computed in the precision of the plan."""
    if plan.precision is not None:
        narrow = jnp.dtype(plan.precision)

        def cast(leaf):
            return leaf.astype(narrow) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        params, x = jax.tree.map(cast, params), cast(x)
    extra = {"mask": mask} if "mask" in plan.keywords and mask is not None else {}
    extra |= {"key": key} if "key" in plan.keywords and key is not None else {}
    logits = plan.apply(params, x, **extra)
    return logits.astype(jnp.float32) if logits.dtype.itemsize < 4 else logits


def _spread(plan: Plan, run: Any, whole: int, batches: int, out: PartitionSpec) -> Any:
    """`run` on each device of the mesh: its first `whole` arguments replicated, the next `batches` spread over them."""
    if plan.mesh is None:
        return run
    specs = (PartitionSpec(),) * whole + (PartitionSpec(None, plan.axes),) * batches
    return jax.shard_map(run, mesh=plan.mesh, in_specs=specs, out_specs=out, check_vma=False)


def _total(plan: Plan, tree: Any) -> Any:
    return lax.psum(tree, plan.axes) if plan.axes else tree


def _train(plan: Plan, state: State, key: Any, decay: Any, x: Any, y: Any, weight: Any, mask: Any) -> Any:
    if plan.axes:
        key = jax.random.fold_in(key, lax.axis_index(plan.axes))

    def step(state: State, batch: Any) -> Any:
        x, y, weight, mask = batch
        total = _total(plan, weight.sum())
        own, change = jax.random.split(jax.random.fold_in(key, state.step))
        if plan.augment is not None:
            x = plan.augment(change, x)
        scale = 1 / jnp.where(total > 0, total, jnp.ones_like(total))
        real_steps = mask if plan.steps else None

        def objective(params):
            logits = forward(plan, params, x, mask, own)
            losses = _metrics.row_losses(plan.loss, logits, y, real_steps)
            share = losses * weight.astype(losses.dtype)
            right = weight * 0
            if _metrics.classified(plan.loss):
                right = weight * _metrics.hits(plan.loss, logits, y, real_steps).astype(weight.dtype)
            return share.sum() * scale.astype(losses.dtype), right.sum() * scale

        (loss, accuracy), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        loss, accuracy, gradient = _total(plan, (loss, accuracy, gradient))
        with optax_promotion():
            rule = optax.with_extra_args_support(plan.optimizer)
            update, optimizer = rule.update(wide(gradient), state.optimizer, wide(state.params), value=loss)
            params = optax.apply_updates(state.params, update)
            average = state.average
            if average is not None:
                average = optax.incremental_update(wide(params), average, 1 - decay)
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(update))
        real = (state.bad < 0) & (total > 0)
        new = State(params, optimizer, average, state.step + 1, state.bad)
        new = jax.tree.map(lambda a, b: jnp.where(real & finite, a.astype(b.dtype), b), new, state)
        bad = jnp.where(real & ~finite, state.step, new.bad)
        return new._replace(bad=bad), (loss, accuracy, total)

    return lax.scan(step, state, (x, y, weight, mask))


@partial(jax.jit, static_argnums=(0,), donate_argnums=(1,))
def train_chunk(plan: Plan, state: State, key: Any, decay: Any, x: Any, y: Any, weight: Any, mask: Any) -> Any:
    """Steps over the first axis of x, y, weight, mask: (state, (loss, accuracy, total weight) of each step)."""
    return _spread(plan, partial(_train, plan), 3, 4, PartitionSpec())(state, key, decay, x, y, weight, mask)


def _logits(plan: Plan, params: Any, x: Any, mask: Any) -> jax.Array:
    return lax.map(lambda batch: forward(plan, params, batch[0], batch[1], None), (x, mask))


@partial(jax.jit, static_argnums=(0,))
def logits_chunk(plan: Plan, params: Any, x: Any, mask: Any) -> jax.Array:
    """Logits of batches over the first axis of x and mask."""
    return _spread(plan, partial(_logits, plan), 1, 2, PartitionSpec(None, plan.axes))(params, x, mask)


def place(plan: Plan, tree: Any, rows: bool) -> Any:
    """Arrays on the devices of the plan: `rows` spread along the second axis, otherwise replicated."""
    if plan.mesh is None:
        return tree
    spec = PartitionSpec(None, plan.axes) if rows else PartitionSpec()
    return jax.device_put(tree, NamedSharding(plan.mesh, spec))
