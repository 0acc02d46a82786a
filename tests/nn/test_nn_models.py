"""The networks against NumPy written from the textbook, values and gradients, and their invariances."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxinfra.nn import attention, cnn, rnn
from jaxinfra.nn.layers import Affine
from tests import networks
from tests.networks import ALL, MASK, REFERENCES, agree_with_numpy, close, cotangent, gradient, network, plain


def forward(kind, name, x):
    """The logits, by the program of the gradients: a call of `apply` itself compiles each operation by itself."""
    mask = {} if kind == "cnn" else {"mask": np.ones_like(MASK)}
    return np.asarray(gradient(kind, name)(network(kind, name)[1], x, cotangent(kind, name), **mask)[0][1])


# Without a mask every network is another program.  What it leaves out does not depend on more than these.
UNMASKED = [("rnn", "lstm_last"), ("rnn", "gru_mean_both"), ("rnn", "plain_none"), ("attention", "encoder")]
UNMASKED = [*(pair for pair in ALL if pair[0] == "cnn"), *UNMASKED]


@pytest.mark.parametrize(
    ("kind", "name"), [pytest.param(*pair, marks=() if pair in UNMASKED else pytest.mark.slow) for pair in ALL]
)
def test_values_and_gradients_match_numpy(kind, name):
    agree_with_numpy(kind, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"), [("cnn", "max"), ("rnn", "lstm_last"), ("rnn", "gru_last"), ("attention", "tags")]
)
def test_transformations(kind, name):
    """jit is eager, vmap a loop, a scan the bare function; forward over reverse agrees with differences."""
    module, params, x = network(kind, name)

    def loss(params, x):
        return jnp.square(module.apply(params, x)).sum()

    slope = jax.jit(jax.grad(loss))
    bare = slope(params, x)
    close(plain(jax.grad(loss)(params, x)), plain(bare), 1e-10)
    batch = jnp.stack([x, 2 * x])
    many = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(params, batch)
    scanned = jax.jit(lambda p, xs: jax.lax.map(lambda x: jax.grad(loss)(p, x), xs))(params, batch)
    for lane in (0, 1):
        one = slope(params, batch[lane])
        for found in (many, scanned):
            close(plain(jax.tree.map(lambda leaf, lane=lane: leaf[lane], found)), plain(one), 1e-10)
    direction = networks.drawn(module, params.config, seed=3)
    curved = jax.jit(lambda p, d: jax.jvp(lambda p: jax.grad(loss)(p, x), (p,), (d,))[1])(params, direction)
    step = 1e-5

    def moved(sign):
        return slope(jax.tree.map(lambda p, d: p + sign * step * d, params, direction), x)

    difference = jax.tree.map(lambda a, b: (a - b) / (2 * step), moved(1), moved(-1))
    close(plain(curved), plain(difference), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_float32_agrees_with_float64(kind, name):
    module, params, x = network(kind, name, jnp.float32)
    narrow = jax.jit(module.apply)(params, x)
    exact = REFERENCES[kind].forward(
        plain(params), np.asarray(x, float if x.dtype == jnp.float32 else int), params.config
    )
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, exact, rtol=0, atol=3e-6 * np.abs(exact).max())


def test_parameter_counts():
    def count(module, config):
        return sum(
            leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda k: module.init(k, config), jax.random.key(0)))
        )

    assert count(cnn, cnn.PHOTOS) == 3_453_121
    assert count(cnn, cnn.DIGITS) == 225_034
    assert count(rnn, rnn.Config(32, cell="plain")) == 32 * 128 + 128 * 128 + 128 + 1290
    assert count(rnn, rnn.Config(32)) == 4 * (32 * 128 + 128 * 128 + 128) + 1290
    assert count(rnn, rnn.Config(32, cell="gru")) == 3 * (32 * 128 + 128 * 128 + 128) + 128 + 1290
    assert count(rnn, rnn.Config(32, bidirectional=True)) == 8 * (32 * 128 + 128 * 128 + 128) + 2570
    assert count(attention, attention.Config(features=128, block="attention")) == 4 * (128 * 128 + 128) + 1290
    dense = 128 * 512 + 512 + 512 * 128 + 128
    assert (
        count(attention, attention.Config(vocabulary=30)) == 30 * 128 + 4 * (128 * 128 + 128) + dense + 6 * 128 + 1290
    )


def test_parameters_print_in_a_few_lines():
    """However large the network; the architecture without what it has by default; traced, and in a batch."""
    key, seen = jax.random.key(0), []
    for module, config in (
        (cnn, cnn.PHOTOS), (rnn, rnn.Config(32, layers=9, bidirectional=True)),
        (attention, attention.Config(vocabulary=30, blocks=30)),
    ):  # fmt: skip
        shapes = jax.eval_shape(lambda k, m=module, c=config: m.init(k, c), key)
        params = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0.1), leaf.shape), shapes)
        jax.eval_shape(lambda p: seen.append(repr(p)), params)
        jax.eval_shape(jax.vmap(lambda p: seen.append(repr(p))), jax.tree.map(lambda leaf: leaf[None], params))
        total = sum(leaf.size for leaf in jax.tree.leaves(params))
        for text in (repr(shapes), repr(params), str(params), *seen[-2:]):
            assert text.startswith(f"Params({total:,} numbers in ") and len(text) < 1200
        rows, columns = params.head.kernel.shape
        assert f"head=Affine(kernel=float32[{rows},{columns}] of 0.1, bias=" in repr(params)
    assert "config=Config(vocabulary=30, blocks=30))" in repr(params)
    assert repr(params.blocks[0].query) == "Affine(kernel=float32[128,128] of 0.1, bias=float32[128] of 0.1)"


def test_a_sigmoid_cell_without_weights_stays_at_one_half():
    config = rnn.Config(3, 4, 2, "plain", "sigmoid")
    params = jax.tree.map(np.zeros_like, networks.drawn(rnn, config))
    x = np.random.default_rng(0).standard_normal((2, 5, 3))

    def last(params):
        states = rnn.hidden(params, x)
        return states[:, -1].sum(), states

    (_, states), slope = jax.jit(jax.value_and_grad(last, has_aux=True))(params)
    np.testing.assert_array_equal(states, 0.5)
    # Calculus: h_T = s(b + ...), s' = 1/4, and R = 0 cuts every step but the last off.
    slope = slope.layers[0][0]
    np.testing.assert_allclose(slope.bias, 2 / 4, rtol=1e-12)
    np.testing.assert_allclose(slope.kernel, np.repeat(x[:, -1].sum(0)[:, None] / 4, 4, 1), rtol=1e-12)
    np.testing.assert_allclose(slope.recurrent, 2 * 0.5 / 4, rtol=1e-12)


def test_lstm_and_gru_cells_without_weights():
    for cell in ("lstm", "gru"):
        config = rnn.Config(3, 4, 2, cell)
        params = jax.tree.map(np.zeros_like, networks.drawn(rnn, config))
        hidden = jax.jit(rnn.hidden)
        np.testing.assert_array_equal(hidden(params, np.ones((2, 5, 3))), 0.0)
        # The candidate alone: g = tanh(b); an LSTM adds i g = g / 2 a step and halves c; a GRU halves the way to n.
        b = 0.7
        third = np.where(np.arange(16 if cell == "lstm" else 12) // 4 == 2, b, 0)
        moved = params.layers[0][0]._replace(bias=third)
        params = rnn.Params(None, ((moved,),), params.head, config)
        share = 1 - 0.5 ** np.arange(1, 6)
        expected = 0.5 * np.tanh(np.tanh(b) * share) if cell == "lstm" else np.tanh(b) * share
        np.testing.assert_allclose(hidden(params, np.ones((2, 5, 3)))[0, :, 0], expected, rtol=1e-12)


def test_zero_queries_attend_evenly():
    _, params, x = network("attention", "plain")
    zero = Affine(*jax.tree.map(np.zeros_like, params.blocks[0].query))
    params = attention.Params(
        None, None, None, (params.blocks[0]._replace(query=zero),), None, params.head, params.config
    )
    weights = jax.jit(attention.weights)
    np.testing.assert_allclose(weights(params, x)[0], 1 / 7, rtol=1e-12)
    masked = weights(params, x, mask=MASK)[0]
    even = np.asarray(MASK) / np.asarray(MASK).sum(1, keepdims=True)
    np.testing.assert_allclose(masked, np.broadcast_to(even[:, None, None], masked.shape), rtol=1e-12)


def test_tokens_outside_the_vocabulary_are_nan_in_their_row():
    for kind, name in (("rnn", "lstm_max_both"), ("attention", "encoder")):
        _, params, x = network(kind, name)
        out = forward(kind, name, x)
        for wrong in (-1, params.config.vocabulary):
            strange = np.array(x)
            strange[1, 2] = wrong
            bad = forward(kind, name, strange)
            assert np.isnan(bad[1]).all()
            np.testing.assert_allclose(bad[[0, 2]], out[[0, 2]], rtol=1e-10)


@pytest.mark.slow
def test_tokens_of_narrow_types():
    """A dtype that holds the tokens need not hold the size of the vocabulary."""
    config = attention.Config(4, 2, 2, vocabulary=300, hidden=3)
    params, apply = networks.drawn(attention, config, jnp.float32), jax.jit(attention.apply)
    x = np.array([[0, 5, 90]], np.int32)
    for dtype in (np.int8, np.uint8, np.uint32, np.int64):
        np.testing.assert_array_equal(apply(params, x.astype(dtype)), apply(params, x))
    assert np.isnan(apply(params, np.array([[0, -1, 90]], np.int8))).all()


@pytest.mark.slow
def test_no_rows_give_no_gradient():
    for kind, name in (("cnn", "max"), ("rnn", "lstm_max_both"), ("rnn", "gru_last"), ("attention", "encoder")):
        module, params, x = network(kind, name)

        def total(params, x, module=module):
            out = module.apply(params, x)
            return out.sum(), out

        slope, out = jax.jit(jax.grad(total, has_aux=True))(params, x[:0])
        assert out.shape == (0, *jax.eval_shape(module.apply, params, x).shape[1:])
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope))


def test_a_causal_network_does_not_see_the_future():
    config = attention.Config(8, 2, 3, features=4, blocks=2, causal=True, pool="none", hidden=5)
    params = networks.drawn(attention, config)
    x = np.random.default_rng(0).standard_normal((2, 6, 4))

    def by_step(x):
        out = attention.apply(params, x)
        return out.sum((0, 2)), out

    seen, out = jax.jit(jax.jacrev(by_step, has_aux=True))(x)
    reach = np.abs(seen).sum((1, 3))  # (output step, input step)
    assert (np.triu(reach, 1) == 0).all() and (np.tril(reach)[np.tril_indices(6)] > 0).all()
    np.testing.assert_allclose(jax.jit(attention.apply)(params, x[:, :4]), out[:, :4], rtol=1e-10)


def test_attention_without_positions_does_not_see_the_order():
    _, params, x = network("attention", "plain")
    x, order = np.asarray(x), np.random.default_rng(0).permutation(7)
    np.testing.assert_allclose(forward("attention", "plain", x[:, order]), forward("attention", "plain", x), rtol=1e-10)
    config = attention.Config(8, 2, 3, features=8, block="attention")
    moved = attention.Params(None, None, None, params.blocks, None, params.head, config)
    apply = jax.jit(attention.apply)
    assert np.abs(np.subtract(apply(moved, x[:, order]), apply(moved, x))).max() > 1e-3


def test_rows_do_not_see_each_other():
    """The order of rows does not matter, and a NaN stays in its row."""
    for kind, name in [("cnn", "max"), ("rnn", "lstm_last_both"), ("attention", "tags")]:
        x = np.array(network(kind, name)[2])
        out = forward(kind, name, x)
        np.testing.assert_allclose(forward(kind, name, x[::-1])[::-1], out, rtol=1e-10)
        x[1] = np.nan
        bad = forward(kind, name, x)
        assert np.isnan(bad[1]).any()
        np.testing.assert_allclose(bad[[0, 2]], out[[0, 2]], rtol=1e-10)


def test_ties_of_a_pool_give_the_gradient_to_the_first():
    from jaxinfra.nn._pooling import max_pool

    along = np.array([[[[2.0], [3.0]]]])
    slope = jax.jit(jax.grad(lambda x: (max_pool(x, 2) * along).sum()))(np.ones((1, 2, 5, 1)))
    np.testing.assert_array_equal(slope[0, :, :, 0], [[2, 0, 3, 0, 0], [0, 0, 0, 0, 0]])


def test_dropout_drops_its_share_and_keeps_the_mean():
    config = cnn.Config((4, 4, 1), (), (), 1, dropout=0.25)
    params = jax.tree.map(np.ones_like, networks.drawn(cnn, config, jnp.float32))
    x, apply = np.ones((4000, 4, 4, 1), np.float32), jax.jit(cnn.apply)
    out = np.asarray(apply(params, x, key=jax.random.key(1))) - 1
    np.testing.assert_allclose(out.mean(), 16, rtol=0.01)
    np.testing.assert_allclose(out.var(), 16 * 0.25 / 0.75, rtol=0.1)  # of Bernoulli(3/4) / (3/4), 16 times
    np.testing.assert_array_equal(apply(params, x), 17)


@pytest.mark.slow
def test_flax_agrees():
    """The same layers of flax.nnx, given the same parameters."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((3, 7, 4)), jnp.float32)
    for cell, kind in [("lstm", nnx.OptimizedLSTMCell), ("gru", nnx.GRUCell), ("plain", nnx.SimpleCell)]:
        config = rnn.Config(4, 5, 3, cell)
        params = networks.drawn(rnn, config, jnp.float32)
        ours = params.layers[0][0]
        theirs = kind(4, 5, rngs=nnx.Rngs(0))
        if cell == "lstm":
            theirs.dense_i.kernel[...], theirs.dense_h.kernel[...] = ours.kernel, ours.recurrent
            theirs.dense_h.bias[...] = ours.bias
        elif cell == "gru":
            theirs.dense_i.kernel[...], theirs.dense_i.bias[...] = ours.kernel, ours.bias
            theirs.dense_h.kernel[...] = ours.recurrent
            # It has no second bias.
            ours = ours._replace(recurrent_bias=jnp.zeros(5, jnp.float32))
            params = rnn.Params(None, ((ours,),), params.head, config)
        else:
            theirs.dense_i.kernel[...], theirs.dense_h.kernel[...] = ours.kernel, ours.recurrent
            theirs.dense_i.bias[...] = ours.bias
        expected = nnx.RNN(theirs)(x)
        np.testing.assert_allclose(rnn.hidden(params, x), expected, rtol=2e-5, atol=2e-6, err_msg=cell)


def test_bad_input():
    photo = networks.drawn(cnn, cnn.DIGITS, jnp.float32)
    with pytest.raises(ValueError, match=r"cnn.apply: x must have shape \(n, 28, 28, 1\), got \(2, 28, 28\)"):
        cnn.apply(photo, np.zeros((2, 28, 28), np.float32))
    with pytest.raises(ValueError, match="nothing of .* is left after block 1"):
        cnn.Config((5, 5, 1), (cnn.Block(2), cnn.Block(2)))
    with pytest.raises(ValueError, match="padding must be one of valid, same"):
        cnn.Block(3, padding="reflect")
    params = networks.drawn(rnn, rnn.Config(3), jnp.float32)
    with pytest.raises(ValueError, match=r"mask must have shape \(2, 5\)"):
        rnn.apply(params, np.zeros((2, 5, 3), np.float32), mask=np.ones((2, 4), bool))
    with pytest.raises(TypeError, match="mask must be boolean"):
        rnn.apply(params, np.zeros((2, 5, 3), np.float32), mask=np.ones((2, 5), np.int32))
    with pytest.raises(ValueError, match="at least one step"):
        rnn.apply(params, np.zeros((2, 0, 3), np.float32))
    with pytest.raises(ValueError, match="cell must be one of"):
        rnn.Config(3, cell="elman")
    with pytest.raises(ValueError, match="heads must divide width"):
        attention.Config(10, 3, features=2)
    with pytest.raises(ValueError, match="either features"):
        attention.Config()
    learned = networks.drawn(attention, attention.Config(8, 2, vocabulary=5, position="learned", length=4))
    with pytest.raises(ValueError, match="x has 6 steps, and length is 4"):
        attention.apply(learned, np.zeros((1, 6), np.int32))
    with pytest.raises(ValueError, match=r"tokens must lie in 0..4, got 0..5"):
        attention.apply(learned, np.array([[0, 5]]))
    unseen = partial(attention.apply, learned, np.array([[0, -1]]), mask=np.array([[True, False]]))
    jax.eval_shape(unseen)  # padding may hold anything
    with pytest.raises(TypeError, match="must hold integers"):
        attention.apply(learned, np.zeros((1, 2), np.float32))
    with pytest.raises(TypeError, match="floating type"):
        cnn.init(jax.random.key(0), cnn.DIGITS, dtype=jnp.int32)
