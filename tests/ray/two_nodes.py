"""A Ray cluster of two nodes on this machine, for a test: prints its address, then obeys lines on its input.

`kill` ends the second node's raylet; the end of the input ends the cluster. The second node has the resource `second`.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    second = cluster.add_node(num_cpus=2, resources={"second": 2})
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            second.kill_raylet()
            print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
