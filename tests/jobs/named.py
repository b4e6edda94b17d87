"""Jobs that share objects by name, and one that makes its own context."""

import time

from pyspark import SparkContext, StorageLevel

from sparkjobserver.api import NamedObject, SparkJob


class _Job(SparkJob):
    def validate(self, context, runtime, config):
        return config


class Make(_Job):
    """One of each kind; says which it had to make."""

    def run_job(self, context, runtime, data):
        made = []

        def making(name, value):
            def make():
                made.append(name)
                return value()

            return runtime.namedObjects.get_or_else_create(name, make)

        spark = context.sparkContext
        making("frame", lambda: NamedObject(context.range(int(data.get("rows", 5))), True, StorageLevel.MEMORY_ONLY))
        making("rdd", lambda: spark.parallelize([1, 2, 3]).map(lambda n: {"n": n * 2}))
        making("table", lambda: spark.broadcast({"a": 1}))
        making("plain", lambda: {"any": ("thing", 1)})
        return {"made": made, "names": runtime.namedObjects.get_names()}


class Use(_Job):
    def run_job(self, context, runtime, data):
        named = runtime.namedObjects
        frame, rdd, table = named.get("frame").obj, named.get("rdd").obj, named.get("table").obj
        looked_up = context.sparkContext.parallelize(["a", "b"]).map(lambda key: table.value.get(key)).collect()
        return {
            "rows": frame.count(),
            "cached": frame.storageLevel.useMemory,
            "rdd": rdd.collect(),
            "table": [table.value["a"], looked_up],
            "plain": named.get("plain").obj,
            "absent": named.get("absent"),
        }


class Change(_Job):
    def run_job(self, context, runtime, data):
        named = runtime.namedObjects
        named.update("frame", lambda: context.range(9))
        named.forget("rdd")
        named.destroy("table")
        named.forget("never there")
        return named.get_names()


class Again(_Job):
    """Frees every name, makes one again, and replaces it by an equal frame: still there, and cached."""

    def run_job(self, context, runtime, data):
        named = runtime.namedObjects
        for name in named.get_names():
            named.destroy(name)
        for _ in range(2):
            named.update("frame", lambda: NamedObject(context.range(7), True, StorageLevel.MEMORY_ONLY))
        frame = named.get("frame").obj
        return [frame.count(), frame.storageLevel.useMemory]


class Slow(_Job):
    """Makes a name slowly, or fails at it."""

    def run_job(self, context, runtime, data):
        def make():
            print("making")
            time.sleep(float(data["seconds"]))
            if data.get("fail", False):
                raise ValueError("cannot make it")
            return runtime.jobId

        return runtime.namedObjects.get_or_else_create(data["name"], make).obj


class OwnContext(SparkContext):
    def hello(self):
        return "hello from a context of its own"


class Custom(_Job):
    def build_context(self, gateway, jvmContext, sparkConf):
        return OwnContext(gateway=gateway, jsc=jvmContext, conf=sparkConf)

    def run_job(self, context, runtime, data):
        return [context.hello(), context.parallelize(range(4)).sum()]


class NoContext(_Job):
    def run_job(self, context, runtime, data):
        return None
