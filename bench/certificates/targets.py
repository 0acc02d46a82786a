"""The certificate of each model, and what it must come to for a time to count."""

from bench.certificates import linear, machines, robust

TARGET = 1e-6
# {model: (figure, certify(task, answer))}; the least-squares models have `least_squares.certify`.
CERTIFICATES = {**linear.CERTIFICATES, **machines.CERTIFICATES, **robust.CERTIFICATES}
TARGETS = {**machines.TARGETS, **robust.TARGETS}


def target(model):
    """What the certificate of a model's answers must come to for their times to count."""
    return TARGETS.get(model, TARGET)
