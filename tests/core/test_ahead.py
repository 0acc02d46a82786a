"""Programs that are compiled before they are needed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinfra as ji

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 3))
Y = X @ np.array([1.0, -1.0, 0.5]) + 0.3 * RNG.standard_normal(24)


def recorder(model="", name="fit"):
    """A verb of the model that keeps what it is given."""
    seen = []

    def fit(X, y, *, n_classes=None, family=None, sample_weight=None, offset=None):
        seen.append((X, y, sample_weight, offset))
        return X

    fit.__module__, fit.__name__ = f"jaxinfra.linear.{model}", name
    return fit, seen


def test_the_real_call_compiles_nothing(compilations):
    """From NumPy or JAX arrays, with other values, and of data that were padded."""
    seconds = ji.warm(ji.ols, [(24, 3), (24, 4)], rows=["sample_weight"], workers=2)
    assert len(seconds) == 2 and all(s > 0 for s in seconds)
    rows = ji.pad_rows(X[:23], Y[:23]), [jnp.asarray(a) for a in ji.pad_rows(X[:22], Y[:22])]
    with compilations() as count:
        for Z, y, w in rows:
            ji.check(ji.ols.fit(Z, y, sample_weight=w))
    assert count[0] == 0


def test_hyper_parameters_and_classes_are_those_of_the_real_call(compilations):
    """n_classes may be given here and counted there; a penalty may have another value."""
    ji.warm(ji.multinomial, [(24, 3)], n_classes=3, l2=0.1)
    y = np.digitize(Y, [-0.5, 0.5])
    with compilations() as count:
        ji.multinomial.fit(X, y, l2=0.3)
    assert count[0] == 0


def test_other_verbs(compilations):
    """A path, and the predictions of a fit."""
    ji.warm(ji.ridge.path, [(24, 3)], l2=np.ones(4))
    with compilations() as count:
        fits = ji.ridge.path(X, Y, l2=np.array([0.1, 0.2, 0.3, 0.4]))
    assert count[0] == 0
    fit = ji.Fit(ji.Linear(fits.coef[0], fits.intercept[0]), None, ji.Problem.of(ji.ridge, l2=0.1))
    ji.warm(fit, [(9, 3)])
    ji.warm(ji.decision, [(fit, (7, 3))])
    with compilations() as count:
        ji.predict(fit, X[:9])
        ji.decision(fit, X[:7])
    assert count[0] == 0


FAMILIES = ji.families


@pytest.mark.parametrize("model, given, fits", [
    ("ols", {}, lambda y: y.dtype == np.float64 and (y < 0).any()),
    ("logistic", {}, lambda y: y.dtype == int and set(y) == {0, 1}),
    ("svc", {"n_classes": 4}, lambda y: y.dtype == int and set(y) == {0, 1, 2, 3}),
    ("ordinal", {"n_classes": 3}, lambda y: set(y) == {0, 1, 2}),
    ("glm", {"family": FAMILIES.Binomial()}, lambda y: set(y) == {0, 1}),
    ("glm", {"family": FAMILIES.Poisson()}, lambda y: y.dtype == np.float64 and (y >= 0).all() and (y % 1 == 0).all()),
    ("glm", {"family": FAMILIES.Gamma()}, lambda y: (y > 0).all()),
    ("glm", {"family": FAMILIES.Gaussian()}, lambda y: (y < 0).any()),
])  # fmt: skip
def test_y_is_of_its_kind(model, given, fits):
    fit, seen = recorder(model)
    ji.warm(fit, [(50, 3), ((60, 3), (60,))], **given)
    assert sorted(len(call[0]) for call in seen) == [50, 60]
    for Z, y, w, _ in seen:
        assert Z.dtype == np.float64 and y.shape == Z.shape[:1] and w is None and fits(y)


def test_shapes_dtypes_and_values():
    fit, seen = recorder("ols")
    shape = jax.ShapeDtypeStruct
    ji.warm(fit, [((9, 3), (9, 2))], dtype=np.float32, rows=["sample_weight", "offset"])
    ji.warm(fit, [(shape((9, 3), np.float64), shape((9,), np.int32)), (X, (24,))], workers=1)
    (Z, y, w, offset), (Z2, y2, *_), (Z3, y3, *_) = seen
    assert y.shape == (9, 2) and Z.dtype == y.dtype == w.dtype == np.float32 and (w == 1).all() and (offset == 0).all()
    assert Z2.dtype == np.float64 and y2.dtype == np.int32
    assert Z3 is X and y3.shape == (24,)


def test_soft_labels():
    fit, seen = recorder("multinomial")
    ji.warm(fit, [((9, 3), (9, 4))])
    np.testing.assert_allclose(seen[0][1].sum(1), 1)


def test_like_real_data():
    """A sample is repeated, in its dtypes: y of classes need not be told their number."""
    labels = np.arange(5, dtype=np.int32) % 3
    fit, seen = recorder("multinomial")
    ji.warm(fit, [(12, 3)], like=(X[:5].astype(np.float32), labels))
    Z, y, *_ = seen[0]
    assert Z.dtype == np.float32 and y.dtype == np.int32
    np.testing.assert_array_equal(Z[10:], X[:2].astype(np.float32))
    np.testing.assert_array_equal(y, np.resize(labels, 12))
    with pytest.raises(ValueError, match=r"like has X \(5, 2\), which cannot be repeated to \(12, 3\)"):
        ji.warm(fit, [(12, 3)], like=(X[:5, :2],))


def test_a_model_goes_first(compilations):
    """Its y is of the model's kind."""
    seen = []

    def cross_validate(model, X, y, *, fixed=None):
        seen.append(y)
        return X

    ji.warm(cross_validate, [(ji.multinomial, (20, 3), (20,))], fixed={"n_classes": 3})
    assert set(seen[0]) == {0, 1, 2}


def test_settings_of_a_block_hold(compilations):
    """Threads would not see them."""
    fit, seen = recorder("ols")
    with jax.enable_x64(False):
        ji.warm(fit, [(9, 3), (10, 3)])
    assert [len(call[0]) for call in seen] == [9, 10] and seen[0][0].dtype == np.float32


def test_progress(capsys):
    fit, _ = recorder("ols")
    ji.warm(fit, [(9, 3), (10, 3)], progress=True)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[1].startswith("warm: ols.fit, 2 of 2 ready, ")
    ji.warm(fit, [(9, 3)])
    assert not capsys.readouterr().err
    assert ji.warm(fit, []) == []


def test_errors():
    fit, seen = recorder("multinomial")
    with pytest.raises(ValueError, match="pass n_classes, or like"):
        ji.warm(fit, [(9, 3)])
    with pytest.raises(ValueError, match="fitted.predict takes fit, X.*one entry for each"):
        ji.warm(ji.fitted.predict, [(9, 3)])
    with pytest.raises(ValueError, match="must be a shape"):
        ji.warm(fit, [("lasso",)], n_classes=2)
    with pytest.raises(TypeError, match="must be a model, a verb or a Fit"):
        ji.warm("ols", [(9, 3)])
    with pytest.raises(TypeError, match="a Fit without its problem"):
        ji.warm(ji.Fit(None, None), [(9, 3)])
    with pytest.raises(ValueError, match="workers is static"):
        ji.warm(fit, [(9, 3)], n_classes=2, workers=0)
    with pytest.raises(TypeError, match="ols.fit has no argument 'l2'"):
        ji.warm(ji.ols, [(9, 3), (10, 3)], l2=0.1)
    assert not seen
