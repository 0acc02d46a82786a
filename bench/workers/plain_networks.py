"""The networks as a JAX user would write them by hand, on the parameters of jaxinfra: a peer, and the reference."""

import jax
import jax.numpy as jnp
from jax import lax


def cnn(params, x):
    for layer in params.convolutions:
        x = lax.conv_general_dilated(x, layer.kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + layer.bias)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.reshape(len(x), -1)
    for layer in params.dense:
        x = jax.nn.relu(x @ layer.kernel + layer.bias)
    x = x @ params.head.kernel + params.head.bias
    return x[:, 0] if x.shape[1] == 1 else x


def lstm(params, x):
    ((cell,),) = params.layers

    def step(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ cell.kernel + h @ cell.recurrent + cell.bias, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((len(x), len(cell.recurrent)), x.dtype)
    (h, _), _ = lax.scan(step, (zero, zero), x.swapaxes(0, 1))
    return h @ params.head.kernel + params.head.bias


def gru(params, x):
    ((cell,),) = params.layers

    def step(h, x):
        (xr, xz, xn), (hr, hz, hn) = jnp.split(x @ cell.kernel + cell.bias, 3, 1), jnp.split(h @ cell.recurrent, 3, 1)
        r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + r * (hn + cell.recurrent_bias))
        return (1 - z) * n + z * h, None

    zero = jnp.zeros((len(x), len(cell.recurrent)), x.dtype)
    h, _ = lax.scan(step, zero, x.swapaxes(0, 1))
    return h @ params.head.kernel + params.head.bias


def attention(params, x):
    (block,), heads = params.blocks, params.config.heads

    def split(affine):
        return (x @ affine.kernel + affine.bias).reshape(*x.shape[:2], heads, -1)

    q, k, v = split(block.query), split(block.key), split(block.value)
    score = jnp.einsum("nqhd,nkhd->nhqk", q, k) / jnp.sqrt(q.shape[-1]).astype(x.dtype)
    mixed = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(score, -1), v).reshape(x.shape)
    h = (mixed @ block.output.kernel + block.output.bias).mean(1)
    return h @ params.head.kernel + params.head.bias


APPLY = {"cnn_photos": cnn, "cnn_photos_forward": cnn, "cnn_digits": cnn, "lstm": lstm, "gru": gru}
APPLY |= {"attention": attention}


def loss(name):
    """loss(params, x, y) of a batch."""

    def mean(params, x, y):
        logits = APPLY[name](params, x)
        if logits.ndim == 1:
            return jnp.mean(jax.nn.softplus(logits) - y * logits)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1))

    return mean
