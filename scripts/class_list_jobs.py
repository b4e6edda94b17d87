"""What the JVMs of the archive's training run do: what jobs do most, on the driver and on executors."""

import tempfile

from pyspark.sql import Window
from pyspark.sql import functions as f


class Everyday:
    """Small Spark jobs of most kinds; the result is their number."""

    def validate(self, context, runtime, config):
        return config

    def run_job(self, context, runtime, data):
        jobs = [ranges, queries, rows, files, python_tasks]
        for job in jobs:
            job(context)
        return len(jobs)


def ranges(session):
    session.range(100).count()
    session.range(0, 10000, 1, 2).selectExpr("sum(hash(sha2(cast(id as string), 256)))", "sum(sqrt(id))").collect()


def queries(session):
    session.range(1000).createOrReplaceTempView("numbers")
    session.sql("select id % 10 as digit, count(*) as n from numbers group by 1 order by 1").collect()
    session.sql("select a.id, b.id from numbers a join numbers b on a.id = b.id where a.id > 10 limit 5").collect()
    session.sql("with t as (select id, cast(id as string) s from numbers) select max(s), avg(id) from t").show()
    session.catalog.dropTempView("numbers")


def rows(session):
    frame = session.createDataFrame([(1, "a", 1.5), (2, "b", None)], ["id", "name", "value"])
    frame.withColumn("rank", f.row_number().over(Window.orderBy("id"))).filter("value is not null").collect()
    frame.groupBy("name").agg(f.sum("value"), f.countDistinct("id")).orderBy("name").cache().collect()
    frame.select(f.upper("name"), f.current_timestamp(), f.to_date(f.lit("2024-01-01"))).union(
        frame.select("name", f.current_timestamp(), f.current_date())
    ).toJSON().collect()


def files(session):
    with tempfile.TemporaryDirectory() as folder:
        frame = session.range(100).withColumn("text", f.col("id").cast("string"))
        for kind in ("parquet", "json", "csv"):
            frame.write.mode("overwrite").format(kind).save(f"{folder}/{kind}")
            session.read.format(kind).load(f"{folder}/{kind}").count()
        session.read.text(f"{folder}/csv").select(f.explode(f.split("value", ","))).distinct().collect()


def python_tasks(session):
    lines = session.sparkContext.parallelize(["the quick brown fox"] * 200, 2)
    lines.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b, 2).collect()
    session.range(10).select(f.udf(lambda n: n + 1, "long")("id")).collect()
