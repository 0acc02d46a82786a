"""The implementations of every model: `ADAPTERS[model][name]` is an `Adapter`."""

from bench.peers import linear, machines, robust

ADAPTERS = {**linear.ADAPTERS, **machines.ADAPTERS, **robust.ADAPTERS}
