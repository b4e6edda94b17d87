"""Each binary, and each version of one, runs its own code: on the driver and in UDFs on the executors."""

from __future__ import annotations


def test_a_new_version_is_used_by_the_next_job_and_not_by_the_running_one(api, context):
    api.upload_jobs("pie", "versions", "flavour", FLAVOUR="apple")
    assert api.run("pie", "versions.Taste", context) == {"driver": "apple", "executors": ["apple"]}
    running = api.start("pie", "versions.Taste", context, "seconds = 6").json()["jobId"]
    api.await_log(running, "tasting")
    api.upload_jobs("pie", "versions", "flavour", FLAVOUR="cherry")
    assert api.run("pie", "versions.Taste", context) == {"driver": "cherry", "executors": ["cherry"]}
    assert api.ended(running)["result"] == {"driver": "apple", "executors": ["apple"]}
    assert api.run("pie", "versions.Taste", context) == {"driver": "cherry", "executors": ["cherry"]}


def test_modules_of_the_same_name_in_two_binaries_run_at_once(api, context):
    api.upload_jobs("sweet", "versions", "flavour", FLAVOUR="sugar")
    api.upload_jobs("sour", "versions", "flavour", FLAVOUR="lemon")
    sweet = api.start("sweet", "versions.Taste", context, "seconds = 3").json()["jobId"]
    sour = api.start("sour", "versions.Taste", context, "seconds = 3").json()["jobId"]
    assert api.ended(sweet)["result"] == {"driver": "sugar", "executors": ["sugar"]}
    assert api.ended(sour)["result"] == {"driver": "lemon", "executors": ["lemon"]}
