"""What the authors of jobs import, under both of its names."""

from __future__ import annotations

import inspect

import pytest

import rayjobs.api
import sparkjobserver.api
from rayjobs.api import JobEnvironment, SparkJob, ValidationProblem, build_problems


@pytest.mark.parametrize("name", ["SparkJob", "JobEnvironment", "ValidationProblem", "build_problems"])
def test_a_job_of_spark_jobserver_imports_the_very_same_thing(name: str) -> None:
    assert getattr(sparkjobserver.api, name) is getattr(rayjobs.api, name)


def test_both_names_of_the_api_export_the_same() -> None:
    assert sorted(sparkjobserver.api.__all__) == sorted(rayjobs.api.__all__)
    assert all(hasattr(rayjobs.api, name) for name in rayjobs.api.__all__)


@pytest.mark.parametrize("method", ["validate", "run_job"])
def test_a_job_that_lacks_a_method_is_told_which(method: str) -> None:
    with pytest.raises(NotImplementedError) as missing:
        getattr(SparkJob(), method)(None, None, None)
    assert str(missing.value) == f"Concrete implementations should override {method}"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (SparkJob.validate, ["self", "context", "runtime", "config"]),
        (SparkJob.run_job, ["self", "context", "runtime", "data"]),
        (JobEnvironment.__init__, ["self", "job_id", "named_objects", "context_config", "find_data_file"]),
        (ValidationProblem.__init__, ["self", "problem"]),
        (build_problems, ["problems"]),
    ],
)
def test_parameters_are_named_as_in_spark_jobserver(method: object, parameters: list[str]) -> None:
    assert list(inspect.signature(method).parameters) == parameters  # type: ignore[arg-type]


def test_an_environment_tells_a_job_where_it_runs() -> None:
    environment = JobEnvironment("j1", None, {"num-cpu-cores": 2})
    assert (environment.jobId, environment.namedObjects, environment.contextConfig) == (
        "j1",
        None,
        {"num-cpu-cores": 2},
    )


def test_an_environment_finds_data_files_by_what_its_context_gave_it() -> None:
    environment = JobEnvironment("j1", None, {}, lambda name: f"/here/{name}")
    assert environment.data_file("words.dat") == "/here/words.dat"


def test_an_environment_that_no_context_made_has_no_data_files() -> None:
    with pytest.raises(FileNotFoundError, match=r"no data file words\.dat"):
        JobEnvironment("j1", None, {}).data_file("words.dat")


def test_each_text_becomes_a_problem_of_its_own() -> None:
    problems = build_problems(text for text in ("no input", "no output"))
    assert type(problems) is list
    assert all(type(problem) is ValidationProblem for problem in problems)
    assert [problem.problem for problem in problems] == ["no input", "no output"]
    assert repr(problems[0]) == "ValidationProblem('no input')"


def test_no_text_is_no_problem() -> None:
    assert build_problems([]) == []
