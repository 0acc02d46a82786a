"""The loop driver, double-word arithmetic, status and host-side checks."""

from __future__ import annotations

import dataclasses
import fractions
import importlib
import itertools
import os
import pkgutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji
from jaxinfra._core import checks, compensated, finish, rows, show
from jaxinfra._core.loop import Verdict, drive, when
from jaxinfra._core.pytree import pytree, static
from jaxinfra._core.types import Info, Linear, Status
from jaxinfra.solvers.linalg import design

pytestmark = pytest.mark.core


def halve(x):
    return x / 2, Verdict(x / 2 < 1.0, ji.Status.CONVERGED)


def test_drive_counts_and_reports():
    x, status, n = drive(halve, jnp.float32(10), max_iter=100)
    assert (x, status, n) == (0.625, ji.Status.CONVERGED, 4)
    x, status, n = drive(halve, jnp.float32(10), max_iter=2)
    assert (x, status, n) == (2.5, ji.Status.MAX_ITER, 2)
    x, status, n = drive(halve, jnp.float32(10), max_iter=0)
    assert (x, status, n) == (10, ji.Status.MAX_ITER, 0)


def test_drive_freezes_finished_lanes():
    x, _, n = jax.vmap(lambda x: drive(halve, x, max_iter=100))(jnp.array([10.0, 1000.0, 1.5]))
    assert list(n) == [4, 10, 1]
    assert list(x) == [0.625, 1000 / 1024, 0.75]


def test_drive_takes_weak_types_without_recompiling(compilations):
    run = jax.jit(lambda x, m: drive(halve, x * 1.0, max_iter=m))
    run(3.0, 5)
    with compilations() as count:
        run(4.0, 6)
    assert count[0] == 0


def test_when_is_lazy_in_a_batch():
    calls = []

    def dear(x):
        jax.debug.callback(lambda: calls.append(1))
        return x + 1

    both = jax.vmap(lambda p, x: when(p, dear, x))
    assert list(both(jnp.array([False, False]), jnp.array([1.0, 2.0]))) == [1, 2]
    jax.effects_barrier()
    assert not calls
    assert list(both(jnp.array([False, True]), jnp.array([1.0, 2.0]))) == [1, 3]


def test_what_when_does_stays_in_its_branch():
    """XLA moves out of a loop what does not change in it: under `vmap` it did so with all of a branch."""

    def run(p, X, w):
        def step(state):
            return when(p, lambda state: (state[0], jnp.exp(X @ state[0]).sum()), state[:2]) + (state[2] + 1,)

        return jax.lax.while_loop(lambda state: state[2] < 4, step, (w, 0.0, 0))

    args = jnp.ones(6, bool), jnp.ones((6, 30, 8)), jnp.ones((6, 8, 5))
    program = jax.jit(jax.vmap(run)).lower(*args).compile().as_text()
    always = program[program.index("ENTRY") :]
    assert "exp" in program and "exp" not in always


def exact(pair):
    return fractions.Fraction(float(pair[0])) + fractions.Fraction(float(pair[1]))


@pytest.mark.parametrize("dtype, digits", [(np.float64, 23), (np.float32, 10)])
def test_pairs_hold_half_as_many_digits_again(dtype, digits, rng):
    """Against exact rational arithmetic, on sums that cancel, compiled (where multiply-adds may be contracted)."""
    a = (rng.standard_normal(200) * 10.0 ** rng.integers(-3, 3, 200)).astype(dtype)
    b = rng.standard_normal(200).astype(dtype)
    a[100:], b[100:] = -a[:100], b[:100] * (1 + np.finfo(dtype).eps * 4)
    hi, lo = jax.jit(lambda a, b: compensated.normalise(compensated.dot(a, b)))(a, b)
    truth = sum(fractions.Fraction(float(x)) * fractions.Fraction(float(y)) for x, y in zip(a, b, strict=True))
    size = sum(abs(fractions.Fraction(float(x)) * fractions.Fraction(float(y))) for x, y in zip(a, b, strict=True))
    assert abs(exact((hi, lo)) - truth) <= size * fractions.Fraction(1, 10**digits)
    s = compensated.two_sum(jnp.asarray(a), jnp.asarray(b))
    for i in range(5):
        assert exact((s[0][i], s[1][i])) == fractions.Fraction(float(a[i])) + fractions.Fraction(float(b[i]))


@pytest.mark.parametrize("n, size", [(64 * 5 + 7, 64), (5 * 70, 70), (4 * 75, 75), (7 * 37, 37), (2 * 60, 64)])
def test_row_blocks_cover_every_row(monkeypatch, rng, n, size):
    """Blocks of 64 rows, or from two on of down to half and up to a quarter more that leave no rest."""
    monkeypatch.setattr(rows, "BLOCK_ELEMENTS", 3 * 64)
    assert rows.block_rows(n, 3) == size
    X = rng.standard_normal((n, 3))
    w = rng.uniform(size=len(X))
    total = jax.jit(lambda X, w: rows.sum_blocks(lambda X, w: (X * w[:, None]).sum(0), (X, w)))(X, w)
    np.testing.assert_allclose(total, w @ X, rtol=1e-12)


def test_status_has_advice_and_fit_prints_it():
    for status in ji.Status:
        assert status.advice.endswith(".")
    fit = ji.ols.fit(np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 2.0, 3.0]))
    assert repr(fit).startswith("Fit(params=Linear(coef=[0.642857], intercept=0.5),\n    info=CONVERGED, n_iter=1, ")
    assert "rank=1" in repr(fit) and repr(fit.info).startswith("RankInfo(CONVERGED, n_iter=1, ")
    lanes = jax.vmap(lambda y: ji.ols.fit(jnp.array([[1.0], [2.0], [4.0]]), y))(jnp.ones((4, 3)).at[2, 0].set(jnp.nan))
    assert "3 CONVERGED, 1 NONFINITE" in repr(lanes)
    assert ji.check(fit) is fit
    with pytest.raises(TypeError, match="being traced"):
        jax.jit(lambda y: ji.check(ji.ols.fit(jnp.ones((3, 1)), y)))(jnp.ones(3))


@pytest.mark.parametrize("value, text", [
    (np.array([[1.0, -2.5], [1e-9, 123456789]]), "[[1, -2.5], [1e-09, 1.23457e+08]]"),
    (np.float32(0.1), "0.1"),
    (np.array([True, False]), "[True, False]"),
    (np.array([1.0, np.nan, -np.inf]), "[1, nan, -inf]"),
    (np.arange(20), "int64[20] from 0 to 19"),
    (np.append(np.arange(20.0), [np.nan, np.inf]), "float64[22] from 0 to 19 (2 not finite)"),
    (np.full((4, 5), np.nan), "float64[4,5] (20 not finite)"),
    (np.zeros(5), "float64[5] of 0"),
    (np.zeros((0, 3)), "float64[0,3]"),
    (np.broadcast_to(0.5, (2000, 2000)), "float64[2000,2000]"),  # too many to read
    (np.array(["a"]), "<U1[1]"),
    (jnp.array([1, 2], jnp.bfloat16), "[1, 2]"),
    (jax.ShapeDtypeStruct((2, 3), jnp.float32), "float32[2,3]"),
    (jax.random.key(0), "key<fry>[]"),
    ({"gap": np.float64(0.5), "all": [None, "a"]}, "{'gap': 0.5, 'all': [None, 'a']}"),
    ((1.0,), "(1.0,)"),
    (ji.kernels.RBF(np.array([0.1, 0.2])), "RBF(gamma=[0.1, 0.2])"),
    (ji.kernels.Polynomial(2), "Polynomial(degree=2)"),
    ([np.arange(20.0) for _ in range(20)], "400 numbers in 20 arrays"),
    (np.float32, "float32"),
])  # fmt: skip
def test_values_of_results_are_one_line(value, text):
    assert show.value(value) == text


def test_values_that_are_gone_print():
    x = jnp.ones(3)
    x.delete()
    assert show.value(x) == "float64[3]"
    odd = ji.Info(np.array([0.5, 3.0]), *[None] * 3)  # no status, as of a tree that was multiplied
    assert repr(odd) == ("Info(lanes of shape (2,): 1 0.5, 1 NONFINITE, n_iter=None, objective=None, optimality=None)")
    assert repr(ji.Fit(None, 0)) == "Fit(params=None,\n    info=0)"


def test_double_data_in_single_mode_warns_once(rng):
    from jaxinfra._core import precision

    X, y = rng.standard_normal((9, 2)), rng.standard_normal(9)
    precision._warned.clear()
    with jax.enable_x64(False):
        with pytest.warns(ji.PrecisionWarning, match=r"ols\.fit: X is float64 .*jax_enable_x64"):
            fit = ji.ols.fit(X, y)
        assert fit.params.coef.dtype == np.float32
        ji.ols.fit(X, y)  # silent now: warnings are errors here
    precision._warned.clear()


def test_working_dtype():
    f32, f64, i = (np.zeros(1, t) for t in (np.float32, np.float64, np.int64))
    half = jnp.zeros(1, jnp.bfloat16)
    assert checks.working_dtype(f32, f32) == np.float32
    assert checks.working_dtype(f32, f64) == np.float64
    assert checks.working_dtype(i, i) == np.float64
    assert checks.working_dtype(i, f32) == np.float32
    assert checks.working_dtype(half, half) == np.float32


def test_compensated_products_and_exponential():
    """Float32 pairs against float64: beyond what float32 alone gives by more than ten times."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((m, 50)).astype(np.float32) for m in (7, 5))

    def pair(v):
        return jnp.asarray(v), jnp.zeros_like(v)

    def value(p):
        return np.asarray(p[0], float) + np.asarray(p[1], float)

    exact = a.astype(float) @ b.T.astype(float)
    np.testing.assert_allclose(value(compensated.matmul(pair(a), pair(b))), exact, atol=1e-8)
    np.testing.assert_allclose(value(compensated.row_dots(pair(a[:5]), pair(b))), np.diag(exact[:5]), atol=1e-8)
    x = -rng.exponential(5, 1000).astype(np.float32)
    np.testing.assert_allclose(value(compensated.exp(pair(x))), np.exp(x.astype(float)), rtol=5e-9)
    product = compensated.multiply(pair(a), (jnp.asarray(a), jnp.asarray(1e-9 * a)))
    np.testing.assert_allclose(value(product), a.astype(float) ** 2 * (1 + 1e-9), rtol=1e-10)


def test_flag_for_small_loops_is_set_before_jax_starts():
    code = (
        "import os, jax, jaxinfra as ji\n"
        "ji.compile_small_loops(1000); ji.compile_small_loops(1000)\n"
        "assert os.environ['XLA_FLAGS'] == os.environ['EXPECTED'], os.environ['XLA_FLAGS']\n"
        "assert float(jax.numpy.ones(3).sum()) == 3\n"
        "ji.compile_small_loops(1000)\n"
        "del os.environ['XLA_FLAGS']\n"
        "try: ji.compile_small_loops(1000)\n"
        "except RuntimeError as error: assert 'before' in str(error)\n"
        "else: raise SystemExit('no error')\n"
        "os.environ['XLA_FLAGS'] = '--xla_backend_extra_options=other=1'\n"
        "try: ji.compile_small_loops(1000)\n"
        "except RuntimeError as error: assert 'add xla_cpu' in str(error)\n"
        "else: raise SystemExit('no error')\n"
    )
    flags = "--xla_cpu_enable_fast_math=false"
    expected = f"{flags} --xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000"
    env = {**os.environ, "XLA_FLAGS": flags, "EXPECTED": expected, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_a_program_belongs_to_the_class_it_was_compiled_for():
    """Of 100 classes registered as JAX registers dataclasses, 11 to 15 ran the program of another in JAX 0.10."""
    kinds = [pytree(type(f"Kind{i}", (), {})) for i in range(100)]
    number = jax.jit(lambda node: jnp.asarray(kinds.index(type(node))))
    assert [int(number(kind())) for kind in kinds] == list(range(100))


def pytrees():
    """Every dataclass of the package that JAX takes apart, with None in every field."""
    for module in pkgutil.walk_packages(ji.__path__, "jaxinfra."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                node = object.__new__(kind)
                for entry in dataclasses.fields(kind):
                    object.__setattr__(node, entry.name, None)
                if not jax.tree_util.all_leaves([node]):
                    yield node


def test_structures_of_two_classes_differ():
    nodes = list(pytrees())
    assert {ji.families.Gamma, ji.links.Log, ji.norms.Tukey, ji.kernels.RBF} <= {type(node) for node in nodes}
    for one, other in itertools.combinations(nodes, 2):
        assert jax.tree.structure(one) != jax.tree.structure(other), f"{type(one)} and {type(other)}"


def test_pytree_keeps_static_fields_and_names_its_leaves():
    @pytree
    class Node:
        a: float
        kind: str = static(default="x")
        b: float = 2.0

    node = Node(1.0, "y")
    paths, structure = jax.tree_util.tree_flatten_with_path(node)
    assert [(jax.tree_util.keystr(path), leaf) for path, leaf in paths] == [(".a", 1.0), (".b", 2.0)]
    assert jax.tree.unflatten(structure, [3.0, 4.0]) == Node(3.0, "y", 4.0)
    assert structure != jax.tree.structure(Node(1.0, "z")) and structure == jax.tree.structure(Node(5.0, "y"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        node.a = 0.0


def test_the_compiler_is_not_made_to_search_rows(capfd):
    """Weights of 1 that are constants of the program: the compiler would search for the first row that counts, for
    seconds, and print a warning."""

    def frame(X):
        return design.provisional((X,), jnp.ones_like(X[:, 0]), True, blocked=True)

    jax.jit(frame).lower(jax.ShapeDtypeStruct((500_000, 1), jnp.float32)).compile()
    assert "Constant folding" not in capfd.readouterr().err


@pytest.mark.parametrize("blocked", [False, True])
def test_a_constant_column_has_its_value_for_a_centre(blocked):
    """Its mean is rounded, and the deviations from it are no spread."""
    rng = np.random.default_rng(5)
    X = np.c_[np.full((300, 3), [0.1, 1 / 3, 7.7]), rng.standard_normal(300), np.full(300, 1e6 + 0.1)]
    X[1::2, 4] += 1e-9  # a few units in the last place, which are all that the column holds
    w = rng.integers(0, 3, (4, 300)).astype(float)

    def frame(X, w):
        return design.provisional((X,), w, True, blocked=blocked)

    def held(centre, inverse, constants=X[0, :3]):
        scale = 1 / inverse
        np.testing.assert_array_equal(centre[:3], constants)
        np.testing.assert_array_equal(scale[:3], 1)
        # Of normal values, some 20 of which are sampled and count; in one lane all are within 1 of the centre.
        assert abs(centre[3]) < 1 and 0.5 <= scale[3] <= 4 and scale[4] <= 1e-9

    held(*jax.jit(frame)(X, None))
    lanes = [np.where((w > 0)[..., None], X, 99.0)[k] for k in range(4)]  # what does not count may be anything
    weighted = jax.jit(frame)
    for Z, v in zip(lanes, w, strict=True):
        held(*weighted(Z, v))
    held(*jax.jit(jax.vmap(frame, (None, 0), None))(X, w))
    for lane in jax.jit(jax.vmap(frame))(np.stack(lanes), w):
        held(*lane)
    # Twice the rows are as little about their value.
    once, twice = jax.jit(jax.vmap(frame, (0, None)))(np.stack([X, 2 * X]), None)
    held(*once)
    np.testing.assert_array_equal(twice[0, :3], 2 * X[0, :3])


def test_the_first_test_that_fails_decides_how_a_fit_ended():
    fails, holds = jnp.array(False), jnp.array(True)
    tests = (holds, Status.DOMAIN), (fails, Status.SINGULAR), (fails, Status.NONFINITE)
    assert int(finish.settle(jnp.int32(Status.STALLED), *tests)) == Status.SINGULAR
    assert int(finish.settle(jnp.int32(Status.STALLED), tests[0])) == Status.STALLED


def test_an_l1_of_0_is_no_part_of_a_program():
    traced, static = checks.split({"l1": 0.0, "l2": 0.0, "n_classes": 3})
    assert traced == {"l2": 0.0} and dict(static) == {"l1": 0.0, "n_classes": 3}
    assert checks.split({"l1": np.zeros(2)})[1] == ()


def test_the_worst_of_several_statuses_is_one_that_is_not_usable():
    pairs = np.array([[code, other] for code in Status for other in (Status.CONVERGED, Status.ONE_CLASS)], np.int32)
    expected = [max(a, b, key=lambda code: (not Status(code).usable, code)) for a, b in pairs]
    assert jax.jit(jax.vmap(finish.worst))(pairs).tolist() == expected
    assert Status.NONFINITE in expected


def test_what_no_status_leaves_usable_is_nan_lane_by_lane():
    codes = jnp.array([int(code) for code in Status], jnp.int32)
    assert list(finish.usable(codes)) == [code.usable for code in Status]
    assert {code for code in Status if code.usable} == {
        Status.CONVERGED, Status.MAX_ITER, Status.STALLED, Status.ONE_CLASS
    }  # fmt: skip
    n = len(codes)
    info = Info(codes, jnp.arange(n, dtype=jnp.int32), jnp.ones(n), jnp.ones(n))
    fit = finish.finish(Linear(jnp.ones((n, 3)), jnp.ones(n)), info)
    lost = [not code.usable for code in Status]
    for numbers in (fit.params.coef[:, 2], fit.params.intercept, fit.info.objective, fit.info.optimality):
        assert list(jnp.isnan(numbers)) == lost
    assert list(fit.info.n_iter) == list(range(n)) and (fit.info.status == codes).all()
