"""The certificate of each model, and the value that it must reach for a time to count."""

from bench.certificates import linear, machines, robust

TARGET = 1e-6
# {model: (figure, certify(task, answer))}; the least-squares models have `least_squares.certify`.
CERTIFICATES = {**linear.CERTIFICATES, **machines.CERTIFICATES, **robust.CERTIFICATES}
TARGETS = {**machines.TARGETS, **robust.TARGETS}


def target(model):
    """The largest certificate of a model's answers at which their times count."""
    return TARGETS.get(model, TARGET)
