"""So many no-op tasks on Dask; prints the seconds from the first call to the last result."""

import sys
import time

from distributed import Client, LocalCluster

tasks, cores = int(sys.argv[1]), int(sys.argv[2])


def null(index):
    return (index * 2654435761 + 1) % 2**32


if __name__ == "__main__":
    cluster = LocalCluster(n_workers=cores, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        # Starts the workers and brings the function to them.
        client.gather(client.map(null, range(200), pure=False))
        began = time.perf_counter()
        values = client.gather(client.map(null, range(tasks), pure=False))
        seconds = time.perf_counter() - began
    assert values == [(index * 2654435761 + 1) % 2**32 for index in range(tasks)]
    print(seconds)
