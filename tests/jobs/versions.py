"""A job whose answer depends on code beside it: on the driver, and in a UDF on the executors."""

import time

import flavour
from pyspark.sql.functions import udf


class Taste:
    def validate(self, context, runtime, config):
        return config

    def run_job(self, context, runtime, data):
        print("tasting")
        time.sleep(float(data.get("seconds", 0)))
        taste = udf(flavour.taste)
        rows = context.range(4).select(taste("id").alias("taste")).distinct().collect()
        return {"driver": flavour.taste(0), "executors": [row["taste"] for row in rows]}
