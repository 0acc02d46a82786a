"""The benchmark of the networks: what is raced computes the same, and what does not is not certified."""

import sys
import types

import jax
import numpy as np
import pytest

pytest.importorskip("asv_runner")

from bench import compile, networks
from bench.report import tables
from bench.runner import process
from bench.suite import network_cases

pytestmark = pytest.mark.slow


def test_every_network_is_timed_certified_and_compiled():
    assert {case.module for case in network_cases.CASES.values()} == {"cnn", "rnn", "attention"}
    assert networks.Learned.params[1] == list(network_cases.LESSONS)
    for name, case in network_cases.CASES.items():
        kind = getattr(networks, case.name)
        assert kind.key == (name,) and kind.params[0][0] == networks.OURS and kind.params[1] == [case.problem]
        assert name in networks.Ours.params[0] and name in networks.Warm.params[0]
        assert tables.figure_of(name) == "error"
        assert compile.compiled(name) == (case.problem,) and case.problem in compile.PROBLEMS
        assert case.steps > 1  # XLA takes a loop of one step apart, and its convolutions become other ones


@pytest.mark.parametrize("name", ["cnn_digits", "lstm", "gru", "attention"])
def test_plain_networks_are_the_same(name, monkeypatch):
    monkeypatch.syspath_prepend(process.BENCH / "workers")
    import plain_networks

    module, params, _ = network_cases.network(name)
    # Biases are 0 at the start, and what is done with them would not be seen.
    params = jax.tree.map(lambda leaf: leaf.astype("float64") + 0.03, params)
    x = network_cases.data(name)[0][0, :2].astype("float64")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = plain_networks.APPLY[name](params, x)
    np.testing.assert_allclose(module.apply(params, x), expected, rtol=1e-10)


def test_race(monkeypatch):
    monkeypatch.setenv("JAXINFRA_BENCH", "standard")  # quick leaves the single device out
    figures = networks.measure("gru", 0.1)
    assert set(figures) >= {"jaxinfra", "jaxinfra, 1 device", "plain JAX"}
    for name, values in figures.items():
        assert values["error"] < 1e-5, name
        assert values["seconds"] > 0 and values["first_seconds"] > values["seconds"]
    certified = [figures[name]["seconds"] for name in figures if tables.peer(name)]
    assert figures["jaxinfra"]["ratio"] == figures["jaxinfra"]["seconds"] / min(certified)


def test_learning_from_real_data():
    found = networks.learn("digits")
    assert found["jaxinfra"] < 0.06
    assert found.get("PyTorch", 0) < 0.06


def test_a_broken_pytorch_stops_nobody_else(monkeypatch):
    monkeypatch.setenv("JAXINFRA_TORCH", "no/such/python")
    assert list(networks.learn("digits")) == [networks.OURS]


def test_wrong_gradients_are_not_certified():
    exact = {"a": np.array([1.0, -4.0]), "zero": np.zeros(3)}
    assert networks.error(exact, exact) == 0
    assert networks.error({**exact, "zero": np.full(3, 0.02)}, exact) == 0.005
    assert networks.error({**exact, "a": np.array([1.0, np.nan])}, exact) == np.inf
    assert networks.error({"a": exact["a"]}, exact) == np.inf


def test_a_worker_that_fails_says_why(tmp_path):
    with pytest.raises(process.Failed, match="no_such_network"):
        process.Worker(sys.executable, "jax_worker", "plain JAX", "no_such_network", tmp_path)


def test_where_pytorch_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXINFRA_TORCH", "some/python")
    assert networks.torch_python() == "some/python" and networks.torch_version() is None
    monkeypatch.delenv("JAXINFRA_TORCH")
    monkeypatch.setattr(networks, "__file__", str(tmp_path / "bench" / "networks.py"))
    monkeypatch.setattr(networks, "importlib", types.SimpleNamespace(util=types.SimpleNamespace(find_spec=lambda _: 0)))
    assert networks.torch_python() is None
    with pytest.raises(networks.harness.SkipNotImplemented, match="make torch"):
        networks.place("PyTorch")
