"""The jobs of the benchmark: functions of the session and the config, so that they can be called directly too."""

import threading
import time


def noop(session, config):
    return None


def text(session, config):
    return "x" * config["bytes"]


def small_range(session, config):
    return session.range(100).count()


def small_sql(session, config):
    session.range(1000).createOrReplaceTempView("numbers")
    return session.sql("select id % 10 as digit, count(*) as n from numbers group by 1 order by 1").collect()


def word_count(session, config):
    lines = ["the quick brown fox jumps over the lazy dog"] * 2000
    words = session.sparkContext.parallelize(lines, 2).flatMap(str.split).map(lambda word: (word, 1))
    return words.reduceByKey(lambda a, b: a + b, 2).collect()


def cpu_heavy(session, config):
    """Hashes and arithmetic on millions of rows, all on executors in the JVM."""
    session.range(0, config["rows"], 1, 2).selectExpr(
        "sum(hash(sha2(cast(id as string), 256)) % 1000)", "sum(sqrt(id) * sin(id))"
    ).collect()


FUNCTIONS = {function.__name__: function for function in (noop, text, small_range, small_sql, word_count, cpu_heavy)}


class _Job:
    def validate(self, context, runtime, config):
        return config

    def run_job(self, context, runtime, data):
        return self.function(context, data)


class Noop(_Job):
    function = staticmethod(noop)


class Text(_Job):
    function = staticmethod(text)


class Range(_Job):
    function = staticmethod(small_range)


class Sql(_Job):
    function = staticmethod(small_sql)


class WordCount(_Job):
    function = staticmethod(word_count)


class CpuHeavy(_Job):
    function = staticmethod(cpu_heavy)


class Direct(_Job):
    """Call `function` of the config in this process, `runs` times in each of `threads` threads.

    Result: `{"seconds": [of each call], "wall_s"}`.
    """

    def run_job(self, context, runtime, data):
        function = FUNCTIONS[data["function"]]
        seconds = []

        def work():
            for _ in range(data["runs"]):
                begun = time.perf_counter()
                function(context, data)
                seconds.append(time.perf_counter() - begun)

        threads = [threading.Thread(target=work) for _ in range(data.get("threads", 1))]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"seconds": seconds, "wall_s": time.perf_counter() - begun}
