"""Small neural networks as pure functions: `init(key, config)`, `apply(params, x)`, and `train.fit`.

    cnn         convolution, pool, dense
    rnn         plain, LSTM and GRU cells
    attention   multi-head self-attention, and a small encoder
    train       the training loop: compiled scans over the batches of an epoch
    layers      the layers of the networks

`params` is a pytree of arrays with the architecture, `params.config`, as static data: `jit`, `vmap`, `grad`, optax and
checkpoints take it as it is.
"""

from jaxinfra.nn import attention, cnn, layers, rnn, train

__all__ = ["attention", "cnn", "layers", "rnn", "train"]
