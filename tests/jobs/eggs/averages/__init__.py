"""A job on a SQLContext."""

from pyspark.sql.types import IntegerType, StringType, StructField, StructType

from sparkjobserver.api import SparkJob, build_problems


class AveragesJob(SparkJob):
    def validate(self, context, runtime, config):
        rows = config.get("input.data", [])
        return rows if rows else build_problems(["input.data is missing"])

    def run_job(self, context, runtime, data):
        schema = StructType([StructField("team", StringType()), StructField("points", IntegerType())])
        context.createDataFrame([tuple(row) for row in data], schema).createOrReplaceTempView("games")
        averages = context.sql("select team, avg(points) as mean from games group by team order by team")
        return averages.rdd.map(lambda row: (row["team"], row["mean"])).collect()
