"""A warm fit of the jaxinfra that this process finds first, see `bench/_gate.py`."""

import serving


def main(implementation, model, folder, root, problem):
    import sys

    sys.path.append(root)  # the benchmarks of the checkout, after the jaxinfra to measure
    from bench import _compare, _peers

    task = _compare.task(model, problem, "float32")
    serving.serve(_peers.ADAPTERS[model][_compare.OURS].prepare(task)[0])
