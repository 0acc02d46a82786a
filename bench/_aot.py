"""Compile for accelerators that this machine need not have: `python _aot.py tpu_v5e|h100 <json>` prints JSON.

A script of its own, because libtpu's environment variables must not reach other processes. The wheels are extra:
libtpu for TPU v5e, jax-cuda13-plugin and jax-cuda13-pjrt (with --no-deps) for H100.
"""

import json
import os
import sys

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


def describe(compiled):
    """The noise-free figures of a compiled program; None where this compiler does not give one."""
    cost = compiled.cost_analysis() or {}
    memory = compiled.memory_analysis()
    return {
        "hlo_instructions": compiled.as_text().count(" = "),
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
    import _cases  # found beside this script
    import _networks
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    place = NamedSharding(Mesh(np.array([device(target)]), ("x",)), PartitionSpec())
    platform = "tpu" if target == "tpu_v5e" else "cuda"
    for model, arguments in requests:
        shapes = [jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape, dtype in arguments]
        source = _networks if model in _networks.CASES else _cases
        lowered = jax.jit(source.function(model)).trace(*shapes).lower(lowering_platforms=(platform,))
        print(json.dumps(describe(lowered.compile())), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "tpu_v5e":
        os.environ.update(TPU_ENVIRONMENT)
    main(sys.argv[1], json.loads(sys.argv[2]))
