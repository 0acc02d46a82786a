"""Small neural networks as pure functions: `init(key, config)`, `apply(params, x)`, and `train.fit`.

    cnn         convolution, pool, dense
    rnn         plain, LSTM and GRU cells
    attention   multi-head self-attention, and a small encoder
    train       the training loop: one compiled scan an epoch
    layers      what they are made of

`params` is a pytree of arrays that carries its architecture, `params.config`, as static data: it goes through `jit`,
`vmap`, `grad`, optax and checkpoints as it is.
"""

from jaxinfra.nn import attention, cnn, layers, rnn, train

__all__ = ["attention", "cnn", "layers", "rnn", "train"]
