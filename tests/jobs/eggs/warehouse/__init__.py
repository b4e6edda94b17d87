"""A job on a HiveContext: a table in the metastore, and a window over it."""

from sparkjobserver.api import SparkJob


class WarehouseJob(SparkJob):
    def validate(self, context, runtime, config):
        return config.get_list("input.amounts")

    def run_job(self, context, runtime, data):
        context.sql("create table if not exists sales (amount int) using hive")
        context.sql("insert into sales values " + ", ".join(f"({amount})" for amount in data))
        ranked = context.sql("select amount, rank() over (order by amount desc) as place from sales")
        return [[row["place"], row["amount"]] for row in ranked.collect()]
