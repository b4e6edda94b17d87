"""A client of Spark Connect: runs what the lines of its input name, answers each with the seconds that it took.

`warm <function of bench_jobs>` runs it in the session that is there, `new <function>` in one that is made for it.
"""

import sys
import time

from bench_jobs import FUNCTIONS
from pyspark.sql.connect.session import SparkSession


def main(address):
    session = SparkSession.builder.remote(address).create()
    for line in sys.stdin:
        kind, function = line.split()
        begun = time.perf_counter()
        its_session = session if kind == "warm" else SparkSession.builder.remote(address).create()
        FUNCTIONS[function](its_session, {})
        print(time.perf_counter() - begun, flush=True)


main(sys.argv[1])
