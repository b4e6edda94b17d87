"""Waiting as long as a job takes."""

from __future__ import annotations


def test_a_sync_request_of_two_minutes_is_answered_with_the_result(api, two_minutes):
    reply = two_minutes.result().json()
    assert (reply["jobId"], reply["status"], reply["result"]) == ("two-minutes", "FINISHED", "slept")
    assert float(reply["duration"].removesuffix(" secs")) > 120
