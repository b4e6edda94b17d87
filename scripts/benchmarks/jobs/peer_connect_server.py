"""A Spark Connect server until its input ends; says its address once it answers.

It makes the service that SparkConnectServer makes, on the loopback address: the latter, in Spark 3.5, can but open its
port, which asks for no password, on all addresses of the machine.
"""

import sys

from pyspark.sql import SparkSession

LOCALHOST = "127.0.0.1"

session = SparkSession.builder.master("local[2]").config("spark.driver.extraClassPath", sys.argv[1]).getOrCreate()
jvm = session._jvm
address = jvm.java.net.InetSocketAddress(LOCALHOST, 0)
service = jvm.org.apache.spark.sql.connect.service.SparkConnectService(False)
builder = jvm.org.sparkproject.connect.grpc.netty.NettyServerBuilder.forAddress(address)
server = builder.addService(service).build().start()
print(f"sc://{LOCALHOST}:{server.getPort()}", flush=True)
sys.stdin.read()
server.shutdownNow()
session.stop()
