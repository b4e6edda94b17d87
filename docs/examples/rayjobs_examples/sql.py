"""Run one SQL statement in the context's session: temp views of earlier jobs are there."""

from rayjobs.api import SparkJob, build_problems


class Query(SparkJob):
    """Config: `sql`, a statement; `limit`, how many rows at most (1000). Result: the rows as objects."""

    def validate(self, context, runtime, config):
        if not config.get("sql", ""):
            return build_problems(["sql: give a statement, such as select 1 as one"])
        return config

    def run_job(self, context, runtime, data):
        return context.sql(data["sql"]).limit(data.get("limit", 1000))
