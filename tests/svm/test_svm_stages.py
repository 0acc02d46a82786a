"""The lean program of a machine: alone on ordinary data, with the whole program's answer, else followed by it."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from jaxinfra._core.stages import Rare
from tests.machines import KERNEL_RIDGE, MACHINES, X

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((300, 4)).astype(np.float32)
SIDE = (ROWS[:, 0] + ROWS[:, 1] ** 2 + 0.5 * RNG.standard_normal(300) > 0.7).astype(int)


@pytest.fixture
def noted(monkeypatch):
    """What the calls of `fit` say: whether the whole program was needed."""
    found = []
    note = Rare.note

    def listening(self, pred):
        if self.lean:
            jax.debug.callback(lambda pred: found.append(bool(np.any(pred))), pred)
        note(self, pred)

    monkeypatch.setattr(Rare, "note", listening)
    return found


@pytest.mark.parametrize("machine", [m for m in MACHINES if m.has_kernel], ids=lambda m: m.name)
def test_ordinary_data_take_the_lean_program_alone(machine, noted):
    tol = {"tol": 1e-6}
    fit = ji.check(machine.solve(**tol))
    jax.effects_barrier()
    assert noted and not any(noted), machine.name
    whole = jax.jit(lambda X: machine.solve(X, **tol))(X)
    assert len(noted) == sum(~np.array(noted)), "the whole program notes nothing"
    close = {"rtol": 1e-8, "atol": 1e-10}
    for a, b in zip(
        jax.tree.leaves((fit.params[:2], fit.info)), jax.tree.leaves((whole.params[:2], whole.info)), strict=True
    ):
        np.testing.assert_allclose(a, b, **close)
    if machine is not KERNEL_RIDGE:
        assert float(fit.info.optimality) <= 1e-6


def test_a_large_c_is_left_to_newtons_method(noted):
    rows, kernel = ROWS.astype(float), kernels.RBF(0.02)
    for C in (1.0, 1e4):  # in one test: the program of the first call goes on to tell its list
        found = ji.svc.fit(rows, SIDE, C=C, kernel=kernel, n_classes=2)
        jax.effects_barrier()
        assert any(noted) == (C > 1)
    whole = jax.jit(lambda rows, C: ji.svc.fit(rows, SIDE, C=C, kernel=kernel, n_classes=2))(rows, C)
    np.testing.assert_allclose(found.params.coef, whole.params.coef, rtol=1e-8, atol=1e-10 * C)
    assert int(found.info.status) == int(whole.info.status) and int(found.info.n_iter) == int(whole.info.n_iter)


def test_what_has_no_machine_ends_as_in_the_whole_program(noted):
    """Wrong numbers, rows of one class, a C without a feasible point."""
    y, bad = SIDE[:40], X.copy()
    bad[3, 1] = np.nan
    for rows, weight, C in ((bad, 1.0, 1.0), (X, np.where(y == 1, 1.0, 0.0), 1.0), (X, 1.0, -1.0)):
        given = {"C": jax.numpy.asarray(C), "sample_weight": np.broadcast_to(weight, 40), "n_classes": 2}
        found = ji.svc.fit(rows, y, **given)
        whole = jax.jit(partial(ji.svc.fit, y=y, **given))(rows)
        assert int(found.info.status) == int(whole.info.status) != ji.Status.CONVERGED
        np.testing.assert_array_equal(found.params.coef, whole.params.coef)
        jax.effects_barrier()
        assert any(noted)
        noted.clear()
