"""A Ray cluster of two nodes on this machine, for a test: prints its address, then obeys lines on its input.

The second node has the resource `second`, and its own folder, which the argument names. `kill` ends its raylet; the end
of the input ends the cluster.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

from rayjobs import node_folders


def main(second_folder: str) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    environment = {node_folders.VARIABLE: second_folder}
    second = cluster.add_node(num_cpus=2, resources={"second": 2}, env_vars=environment)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            second.kill_raylet()
            print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
