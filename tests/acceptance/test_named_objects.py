"""Objects that the jobs of a context share by name."""

from __future__ import annotations

import pytest

from tests.service import Api


@pytest.fixture(scope="module", autouse=True)
def named(service) -> None:
    with service.client() as client:
        Api(client).upload_jobs("named", "named")


def test_objects_of_one_job_are_there_for_the_next_in_another_process(api, context):
    first = api.run("named", "named.Make", context)
    assert set(first["made"]) == {"frame", "rdd", "table", "plain"} <= set(first["names"])
    held = api.start("named", "named.Slow", context, "name = held, seconds = 6").json()["jobId"]
    api.await_log(held, "making")
    used = api.run("named", "named.Use", context)
    assert used == {
        "rows": 5,
        "cached": True,
        "rdd": [{"n": 2}, {"n": 4}, {"n": 6}],
        "table": [1, [1, None]],
        "plain": {"any": ["thing", 1]},
        "absent": None,
    }
    assert api.run("named", "named.Make", context)["made"] == []
    left = api.run("named", "named.Change", context)
    assert "frame" in left and "rdd" not in left and "table" not in left
    assert set(api.run("named", "named.Make", context)["made"]) == {"rdd", "table"}
    assert api.run("named", "named.Use", context)["rows"] == 9
    assert api.ended(held)["result"] == held


def test_one_job_makes_an_object_and_the_others_wait_for_it(api, context):
    config = "name = once, seconds = 3"
    maker = api.start("named", "named.Slow", context, config).json()["jobId"]
    api.await_log(maker, "making")
    others = [api.start("named", "named.Slow", context, config).json()["jobId"] for _ in range(2)]
    assert {api.ended(job)["result"] for job in (maker, *others)} == {maker}


@pytest.mark.parametrize("end", ["fails", "is killed"])
def test_a_name_whose_maker_did_not_make_it_is_made_by_the_next(api, context, end):
    name = f'name = "maker {end}"'
    maker = api.start("named", "named.Slow", context, f"{name}, seconds = 3, fail = true").json()["jobId"]
    api.await_log(maker, "making")
    waiting = api.start("named", "named.Slow", context, f"{name}, seconds = 0").json()["jobId"]
    if end == "is killed":
        api.http.delete(f"/jobs/{maker}")
    assert api.ended(waiting)["result"] == waiting
    assert api.ended(maker)["status"] in ("ERROR", "KILLED")


def test_names_end_with_their_context(api):
    for _ in range(2):
        assert api.http.post("/contexts/forgetful?context-per-jvm=false").status_code == 200
        made = api.run("named", "named.Make", "forgetful")
        assert len(made["made"]) == 4 and len(made["names"]) == 4
        assert api.run("named", "named.Again", "forgetful") == [7, True]
        assert api.http.delete("/contexts/forgetful").status_code == 200
