"""Small jobs that do one thing each."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from sparkjobserver.api import SparkJob, build_problems


class Echo(SparkJob):
    def validate(self, context, runtime, config):
        return config

    def run_job(self, context, runtime, data):
        return data.get("value", None)


class Greet(SparkJob):
    """Refuses a config without a name; prints and logs what it does."""

    def validate(self, context, runtime, config):
        problems = [f"no {key}" for key in ("name", "greeting") if key not in config]
        return build_problems(problems) if problems else config

    def run_job(self, context, runtime, data):
        print(f"greeting {data['name']}")
        return f"{data['greeting']}, {data['name']}! from {runtime.jobId}"


class _Plain:
    def validate(self, context, runtime, config):
        return config


class Raise(_Plain):
    def run_job(self, context, runtime, data):
        raise LookupError("nothing there")


class SparkRaise(_Plain):
    def run_job(self, context, runtime, data):
        return context.sql("select * from no_such_table").collect()


class InvalidInValidate(_Plain):
    def validate(self, context, runtime, config):
        raise RuntimeError("cannot validate")

    def run_job(self, context, runtime, data):
        return None


class Segfault(_Plain):
    def run_job(self, context, runtime, data):
        print("about to crash")
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(30)


class KillProcess(_Plain):
    """Ends another process of this machine, then waits for what comes of that."""

    def run_job(self, context, runtime, data):
        print("about to kill")
        os.kill(data["pid"], signal.SIGKILL)
        time.sleep(30)


class Exit(_Plain):
    def run_job(self, context, runtime, data):
        sys.exit(3)


class NotJson(_Plain):
    def run_job(self, context, runtime, data):
        return {"thing": object()}


class Spin(_Plain):
    def run_job(self, context, runtime, data):
        print("spinning")
        while True:
            pass


class SpinInStage(_Plain):
    """Stuck in tasks on the executors."""

    def run_job(self, context, runtime, data):
        print("in a stage")
        return context.range(2).rdd.map(_spin).count()


class SpinAfterPlanning(_Plain):
    """One call of the JVM: it plans for seconds, and is stuck in tasks on the executors then."""

    def run_job(self, context, runtime, data):
        constants = [f"sha2(repeat('{n}', 50000000), 512)" for n in range(20)]
        stuck = "reflect('java.lang.Thread', 'sleep', 600000L)"
        rows = context.range(2).selectExpr(stuck, *constants)
        print("planning")
        return rows.collect()


class SlowTasks(_Plain):
    """Two tasks on the executors that take their time."""

    def run_job(self, context, runtime, data):
        print("in a stage")
        seconds = float(data["seconds"])
        return context.range(0, 2, 1, 2).rdd.map(lambda _: time.sleep(seconds)).count()


class SpinInThread(_Plain):
    """Stuck in tasks on the executors, which a thread of the job's own started."""

    def run_job(self, context, runtime, data):
        thread = threading.Thread(target=context.range(2).rdd.map(_spin).count)
        thread.start()
        print("in a stage")
        thread.join()


class Once(_Plain):
    """Valid the first time only: what it leaves in `folder` says that it was there."""

    def validate(self, context, runtime, config):
        trace = Path(config["folder"]) / runtime.jobId
        if trace.exists():
            return build_problems(["once was enough"])
        trace.touch()
        return config

    def run_job(self, context, runtime, data):
        print("sleeping")
        time.sleep(float(data.get("seconds", 60)))
        return "once"


class Counts(_Plain):
    """Keeps state on itself, as if it were alone."""

    runs = ()

    def run_job(self, context, runtime, data):
        self.runs = (*self.runs, runtime.jobId)
        return len(self.runs)


def _spin(row):
    while True:
        pass


class Sleep(_Plain):
    def run_job(self, context, runtime, data):
        print("sleeping")
        time.sleep(float(data["seconds"]))
        return "slept"


class CountRange(_Plain):
    """Needs an executor."""

    def run_job(self, context, runtime, data):
        return context.range(100).count()


class CountAfterGarbage(_Plain):
    """Needs an executor once the driver JVM's garbage is collected, and Ray has heard of it."""

    def run_job(self, context, runtime, data):
        context._jvm.System.gc()
        time.sleep(2)
        return context.range(100).count()


class SqlSetting(_Plain):
    def run_job(self, context, runtime, data):
        return context.conf.get(data["key"])


class AwaitFile(_Plain):
    """Runs until `file` exists; returns its own id."""

    def run_job(self, context, runtime, data):
        while not Path(data["file"]).exists():
            time.sleep(0.1)
        time.sleep(1)
        return runtime.jobId


class ReadData(_Plain):
    """The text of a data file."""

    def run_job(self, context, runtime, data):
        return Path(runtime.data_file(data["file"])).read_text()


class Streamed(_Plain):
    """How many lines a Structured Streaming query reads of the files that `folder` has now."""

    def run_job(self, context, runtime, data):
        lines = context.readStream.text(data["folder"])
        query = lines.writeStream.format("memory").queryName("lines").trigger(availableNow=True).start()
        query.awaitTermination()
        return context.table("lines").count()


class StopSpark(_Plain):
    def run_job(self, context, runtime, data):
        context.stop()
        return "stopped"


class Frame(_Plain):
    def run_job(self, context, runtime, data):
        frame = context.createDataFrame([(1, "a"), (2, None)], ["n", "s"])
        return {"spark": frame, "pandas": frame.toPandas()}


class MakeView(_Plain):
    def run_job(self, context, runtime, data):
        context.range(int(data["rows"])).createOrReplaceTempView("shared_view")


class CountView(_Plain):
    def run_job(self, context, runtime, data):
        return context.sql("select count(*) as n from shared_view").collect()[0]["n"]


class KindOfContext(_Plain):
    def run_job(self, context, runtime, data):
        frame = context.sql("select 41 + 1") if hasattr(context, "sql") else None
        number = frame.collect()[0][0] if frame is not None else context.parallelize(range(43)).max()
        return [type(context).__name__, number]


class NotAJob:
    pass


class Surroundings(_Plain):
    """Whom, with what settings and from which folders this runs."""

    def validate(self, context, runtime, config):
        self.seen = [type(runtime).__name__, runtime.jobId]
        return config

    def run_job(self, context, runtime, data):
        from pyspark.sql.functions import udf

        spark = context.sparkContext
        lesson = udf(lambda _: __import__("lesson").TEXT)
        return {
            "user": spark.sparkUser(),
            "hadoop": spark._jsc.hadoopConfiguration().get("my.key"),
            "launcher": spark.getConf().get("spark.my.key"),
            "passthrough": context.conf.get("spark.other.key"),
            "driver": __import__("lesson").TEXT,
            "executors": context.range(1).select(lesson("id")).first()[0],
            "runtime": [*self.seen, type(runtime).__name__],
            "config": {key: data[key] for key in data if key != "spark"},
        }


class Data:
    """What `validate` returns, whatever that is, is what `run_job` gets; or `run_job` returns problems."""

    def validate(self, context, runtime, config):
        return config.get("data", None)

    def run_job(self, context, runtime, data):
        return build_problems(["too late"]) if data == "problems" else data


class Keys(_Plain):
    def run_job(self, context, runtime, data):
        return sorted(data)


class RunnerName(_Plain):
    """The name of the Ray actor that it runs in."""

    def run_job(self, context, runtime, data):
        import ray

        return ray.get_runtime_context().get_actor_name()
