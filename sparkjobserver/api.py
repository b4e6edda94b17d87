"""The job API under its first name, so that jobs written for spark-jobserver run unchanged."""

from rayjobs.api import JobEnvironment, SparkJob, ValidationProblem, build_problems

__all__ = ["JobEnvironment", "SparkJob", "ValidationProblem", "build_problems"]
