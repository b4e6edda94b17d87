"""A Spark application of one job: the function of bench_jobs that is named."""

import sys

from bench_jobs import FUNCTIONS
from pyspark.sql import SparkSession

session = SparkSession.builder.master("local[2]").getOrCreate()
FUNCTIONS[sys.argv[1]](session, {})
session.stop()
