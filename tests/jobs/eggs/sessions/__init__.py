"""A job on a SparkSession."""

from sparkjobserver.api import SparkJob


class SessionsJob(SparkJob):
    def validate(self, context, runtime, config):
        return {"limit": config.get_int("limit", 10), "cores": runtime.contextConfig.get("num-cpu-cores", None)}

    def run_job(self, context, runtime, data):
        return {"sum": context.range(data["limit"]).groupBy().sum().first()[0], "cores": str(data["cores"])}
