"""Support vector machines: changes that must not change a fit, and special cases of one machine that are another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra import kernels
from tests.helpers import close
from tests.machines import (
    GAMMA,
    HINGE,
    LABELS,
    NU_SVC,
    NU_SVR,
    ONE_CLASS,
    PAIRS,
    REAL,
    SQUARED,
    SUPPORT_VECTOR,
    SVC,
    SVR,
    Machine,
    N,
    W,
    X,
    Z,
    over,
)

pytestmark = pytest.mark.slow


def same(row: Machine, fit: ji.Fit, coef: Any, intercept: Any, rel: float = 1e-7) -> None:
    """The fit has these coefficients and this intercept."""
    close((fit.params.coef, fit.params.intercept), (coef, intercept), rel, row.name)


@over(SUPPORT_VECTOR)
def test_permutation_of_rows(row):
    i = np.random.default_rng(0).permutation(N)
    moved = row.solve(X[i], row.y[i], W[i])
    same(
        row, moved, row.base.params.coef[..., i] if row.has_kernel else row.base.params.coef, row.base.params.intercept
    )


@over([row for row in SUPPORT_VECTOR if row.has_kernel])
def test_translation_and_units_of_rbf(row):
    for data, gamma in [(X + 1000, GAMMA), (30 * X, GAMMA / 900), (X[:, ::-1], GAMMA)]:
        same(row, row.solve(data, gamma=gamma), row.base.params.coef, row.base.params.intercept)


@over([HINGE, SQUARED])
def test_translation_and_units_of_linear_machines(row):
    same(row, row.solve(X + 100), row.base.params.coef, row.base.params.intercept - 100 * row.base.params.coef.sum())
    same(row, row.solve(30 * X, C=row.hyper["C"] / 900), row.base.params.coef / 30, row.base.params.intercept)


@over([SVC, NU_SVC, HINGE, SQUARED])
def test_flipped_labels_flip_the_machine(row):
    same(row, row.solve(y=1 - row.y), -row.base.params.coef, -row.base.params.intercept)


def test_renamed_classes_permute_the_machines():
    """0, 1, 2 become 2, 0, 1: the old pairs (0, 1), (0, 2), (1, 2) are the new ones (2, 0), (2, 1), (0, 1)."""
    moved = PAIRS.solve(y=np.array([2, 0, 1])[PAIRS.y]).params
    sign, at = np.array([-1.0, -1.0, 1.0]), np.array([1, 2, 0])
    close((sign[:, None] * moved.coef[at], sign * moved.intercept[at]), PAIRS.base.params[:2], 1e-7, "renamed")


@over([SVR, NU_SVR])
def test_affine_maps_of_y(row):
    coef, intercept = row.base.params.coef, row.base.params.intercept
    same(row, row.solve(y=row.y + 7), coef, intercept + 7)
    same(row, row.solve(y=-row.y), -coef, -intercept)
    units = {k: 5 * v for k, v in row.hyper.items() if k != "nu"}
    same(row, row.solve(y=5 * row.y, **units), 5 * coef, 5 * intercept)


@over([row for row in SUPPORT_VECTOR if "C" in row.hyper])
def test_weights_are_in_units_of_c(row):
    """Only the product C w counts, also where C is given for each row."""
    C = row.hyper["C"]
    for fit in (row.solve(w=W / 4, C=4 * C), row.solve(w=None, C=C * W)):
        same(row, fit, row.base.params.coef, row.base.params.intercept)


def test_weights_of_the_nu_machines():
    """Doubled, they change nothing where the margin or C is the unit, and double the one-class machine."""
    same(NU_SVC, NU_SVC.solve(w=2 * W), NU_SVC.base.params.coef, NU_SVC.base.params.intercept)
    same(ONE_CLASS, ONE_CLASS.solve(w=2 * W), 2 * ONE_CLASS.base.params.coef, 2 * ONE_CLASS.base.params.intercept)


def test_nu_is_the_share_of_what_c_and_epsilon_give():
    """The nu of a solved machine gives that machine; Chang and Lin 2001, theorem 5, and 2002 for regression."""
    for row, nu_row in [(SVC, NU_SVC), (SVR, NU_SVR)]:
        nu = np.abs(row.base.params.coef).sum() / (row.hyper["C"] * W.sum())
        more = {} if nu_row is NU_SVC else {"C": row.hyper["C"]}
        same(row, ji.check(nu_row.solve(nu=nu, **more)), row.base.params.coef, row.base.params.intercept, 1e-6)


def test_class_weights_are_weights_of_rows():
    factor = np.array([0.5, 2.0])
    by_row = SVC.solve(w=W * factor[LABELS]).params
    same(SVC, SVC.solve(class_weight=factor), by_row.coef, by_row.intercept)
    each = np.array([W[k == LABELS].sum() for k in range(2)])
    by_row = SVC.solve(w=W * (W.sum() / (2 * each))[LABELS]).params
    same(SVC, SVC.solve(class_weight="balanced"), by_row.coef, by_row.intercept)


def test_a_multiple_of_the_kernel_is_in_units_of_c():
    scaled = SVC.solve(kernel=3.0 * kernels.RBF(GAMMA), C=SVC.hyper["C"] / 3)
    same(SVC, scaled, SVC.base.params.coef / 3, SVC.base.params.intercept)


def test_what_needs_no_support_vectors():
    """Everything within the tube, y constant, nu = 1, and rows that are all the same."""
    middle = (REAL.min() + REAL.max()) / 2
    same(SVR, ji.check(SVR.solve(epsilon=100.0)), np.zeros(N), middle)
    for row in (SVR, NU_SVR):
        same(row, ji.check(row.solve(y=np.full(N, 3.0))), np.zeros(N), 3.0)
    close(ji.check(ONE_CLASS.solve(nu=1.0)).params.coef, W, 1e-12)
    heavier = int(W @ (2 * LABELS - 1) > 0)
    for row in (SVC, HINGE, SQUARED):
        params = ji.check(row.solve(0 * X)).params
        assert row.module.predict(params, 0 * Z).tolist() == [heavier] * len(Z)


def test_one_row():
    same(SVR, ji.check(SVR.solve(X[:1], REAL[:1], W[:1])), np.zeros(1), REAL[0])
    fit = ji.check(ONE_CLASS.solve(X[:1], w=W[:1]))
    same(ONE_CLASS, fit, 0.37 * W[:1], -0.37 * W[0])
