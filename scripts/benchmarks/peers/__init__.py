"""Rows beside each peer: what one would use instead of rayjobs for the same work, as its users use it."""

from scripts.benchmarks.peers import livy, ray_jobs, spark_connect, spark_processes

__all__ = ["livy", "ray_jobs", "spark_connect", "spark_processes"]
