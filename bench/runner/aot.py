"""Compile for this CPU, or for accelerators that this machine need not have.

`python aot.py cpu|tpu_v5e|h100` reads [[model, [[shape, dtype], ...]], ...] and prints a line of JSON for each: its
figures, {} where there is no such model, {"error": ...} where it does not compile.

A separate script, because libtpu's environment variables must not reach other processes. The wheels are extra:
libtpu for TPU v5e, jax-cuda13-plugin and jax-cuda13-pjrt (with --no-deps) for H100.
"""

import importlib.util
import json
import os
import sys
import types
from pathlib import Path

TARGETS = {"cpu": "this CPU", "tpu_v5e": "TPU v5e", "h100": "H100"}
WHEELS = {"tpu_v5e": ["libtpu"], "h100": ["jax_cuda13_plugin"]}  # the modules to look for
TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nothing runs on a device, so that several may compile at once
}
H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84942979072
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 3 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


def missing(target):
    """The reason why a target cannot be compiled for here; None if it can."""
    absent = [name for name in WHEELS.get(target, ()) if importlib.util.find_spec(name) is None]
    return f"{target}: the wheels {', '.join(absent)} are not installed" if absent else None


def forget():
    """Compile everything anew from here on."""
    if jax := sys.modules.get("jax"):
        jax.clear_caches()


def live():
    """The compiled programs of this process; none before JAX has started."""
    jax = sys.modules.get("jax")
    return jax.devices()[0].client.live_executables() if jax else []


def kernels_since(before):
    """The `kernels.Kernels` of the programs that are live now and were not in `before`."""
    from bench.runner import kernels

    known = set(map(id, before))
    new = [program for program in live() if id(program) not in known]
    return sum((kernels.count(module.to_string()) for program in new for module in program.hlo_modules()), kernels.NONE)


def describe(compiled):
    """The noise-free figures of a compiled program; None where this compiler does not give one."""
    from bench.runner import kernels  # after `main` has said which `bench`

    cost = compiled.cost_analysis() or {}
    memory = compiled.memory_analysis()
    text = compiled.as_text()
    found = kernels.count(text)
    return {
        "kernels": found.compiled,
        "copies": found.copies,
        "hlo_instructions": text.count(" = "),
        "temp_bytes": getattr(memory, "temp_size_in_bytes", None),
        # Bodies of loops count once and opaque solvers not at all: good for comparing commits, not for rooflines.
        "flops": cost.get("flops"),
        "bytes_accessed": cost.get("bytes accessed"),
    }


def device(target):
    from jax.experimental import topologies

    if target == "tpu_v5e":
        topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
    else:
        topology = topologies.get_topology_desc(platform="cuda", topology_name="", topology="1x1x1", target_config=H100)
    return topology.devices[0]


def main(target, requests):
    # The suite beside this file, whatever the jaxinfra to measure has, without what importing `bench` sets.
    sys.modules["bench"] = bench = types.ModuleType("bench")
    bench.__path__ = [str(Path(__file__).parents[1])]
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from bench.suite import model_cases, network_cases

    place, platforms = None, None
    if target == "cpu":
        jax.config.update("jax_enable_x64", True)
        # LLVM's passes are a third of the time and change none of the figures, which XLA's own passes decide.
        jax.config.update("jax_disable_most_optimizations", True)
    else:
        place = NamedSharding(Mesh(np.array([device(target)]), ("x",)), PartitionSpec())
        platforms = ("tpu" if target == "tpu_v5e" else "cuda",)
    for model, arguments in requests:
        shapes = [jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape, dtype in arguments]
        source = network_cases if model in network_cases.CASES else model_cases
        found = {}
        if source.available(model):
            try:
                lowered = jax.jit(source.function(model)).trace(*shapes).lower(lowering_platforms=platforms)
                found = describe(lowered.compile())
            except Exception as error:  # one model that cannot be compiled must not stop the others
                found = {"error": repr(error)[:500]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "tpu_v5e":
        os.environ.update(TPU_ENVIRONMENT)
    main(sys.argv[1], json.load(sys.stdin))
