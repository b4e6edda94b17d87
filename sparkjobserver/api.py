"""The job API under its first name, so that jobs written for spark-jobserver run unchanged."""

from rayjobs.api import JobEnvironment, NamedObject, NamedObjects, SparkJob, ValidationProblem, build_problems

__all__ = ["JobEnvironment", "NamedObject", "NamedObjects", "SparkJob", "ValidationProblem", "build_problems"]
