"""Spark on Ray for one job, as a Ray job starts it: the function of bench_jobs that is named."""

import sys

import ray
import raydp
from bench_jobs import FUNCTIONS

ray.init()
session = raydp.init_spark("peer", num_executors=1, executor_cores=2, executor_memory="1g")
FUNCTIONS[sys.argv[1]](session, {})
raydp.stop_spark()
