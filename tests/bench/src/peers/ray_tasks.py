"""So many no-op tasks on Ray; prints the seconds from the first call to the last result."""

import os
import sys
import time

# Else it writes into the home directory and reports its use.
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")

import ray  # noqa: E402

tasks, cores = int(sys.argv[1]), int(sys.argv[2])
ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, object_store_memory=256 << 20)


@ray.remote
def null(index):
    return (index * 2654435761 + 1) % 2**32


# Starts the worker processes and imports the function into them.
ray.get([null.remote(index) for index in range(200)])
began = time.perf_counter()
values = ray.get([null.remote(index) for index in range(tasks)])
seconds = time.perf_counter() - began
assert values == [(index * 2654435761 + 1) % 2**32 for index in range(tasks)]
ray.shutdown()
print(seconds)
