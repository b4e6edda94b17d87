"""A job that calls a class of its context's jars: that of tests/jobs/jvm/Words.scala."""


class Greet:
    def validate(self, context, runtime, config):
        return config

    def run_job(self, context, runtime, data):
        return context._jvm.words.Words.greet("you")
