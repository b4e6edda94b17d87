"""The benchmark's own arithmetic and report: statistics, ratios, goals, comparisons, the table in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmarks import plots
from scripts.benchmarks.amounts import readable
from scripts.benchmarks.compare import changes
from scripts.benchmarks.load import answers_in
from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.report import BEGIN, END, table, with_section
from scripts.benchmarks.results import Outcome, Results, outcome_of
from scripts.benchmarks.rows import Row, Skipped, at_least, at_most, chosen, median_within, p95_within, rate_of
from scripts.benchmarks.stage import Stage

MACHINE = {"cores": 2, "ray": "1"}


def _measured(*values: float, unit: str = "s", **others: Series) -> Measured:
    return Measured(Series(list(values), unit), others)


def test_percentiles_are_measured_values_and_of_few_the_largest():
    hundred = Series([float(n) for n in range(100, 0, -1)])
    assert (hundred.median, hundred.percentile(95), hundred.percentile(99), hundred.percentile(0)) == (50.5, 95, 99, 1)
    assert Series([1.0, 3.0, 2.0]).percentile(99) == 3
    assert Series([1.0, 3.0, 2.0]).percentile(25) == 1


def test_a_ratio_is_our_median_by_the_others():
    assert _measured(1, 2, 30, other=Series([4.0, 8.0, 9.0])).ratio("other") == 0.25


@pytest.mark.parametrize(
    ("goal", "met", "missed"),
    [
        (at_most(0.5, "other"), _measured(1.0, other=Series([2.0])), _measured(1.1, other=Series([2.0]))),
        (at_least(0.5, "other"), _measured(1.0, other=Series([2.0])), _measured(0.9, other=Series([2.0]))),
        (median_within(0.3), _measured(0.1, 0.3, 9.0), _measured(0.1, 0.31, 0.4)),
        (p95_within(1.0), _measured(*[0.1] * 19, 9.0), _measured(*[0.1] * 18, 1.1, 9.0)),
        (rate_of(600), _measured(600.0, unit="jobs/s"), _measured(599.0, unit="jobs/s")),
    ],
    ids=lambda value: getattr(value, "text", None),
)
def test_a_goal_is_met_up_to_its_limit(goal, met, missed):
    assert goal.is_met(met) and not goal.is_met(missed)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (17.04, "s", "17.0 s"),
        (0.9994, "s", "999 ms"),
        (0.00512, "s", "5.12 ms"),
        (0.00000042, "s", "0.420 µs"),
        (1234.5, "jobs/s", "1234 jobs/s"),
        (67_318_580, "bytes", "64.2 MiB"),
        (1.5 * 2**30, "bytes", "1.50 GiB"),
        (99.96, "MB/s", "100 MB/s"),
    ],
)
def test_amounts_have_three_figures_and_a_fitting_unit(value, unit, text):
    assert readable(value, unit) == text


@pytest.mark.parametrize(
    ("old", "new", "unit", "is_regression"),
    [
        ([1.0, 1.1, 0.9], [1.5, 1.6, 1.4], "s", True),
        ([1.0, 1.1, 0.9], [0.5, 0.6, 0.4], "s", False),
        ([1.0, 1.01, 0.99], [1.09, 1.09, 1.09], "s", False),  # beyond the spread, within a tenth
        ([1.0, 2.0, 0.5], [1.5, 2.5, 1.4], "s", False),  # beyond a tenth, within the spread
        ([500.0, 510.0], [300.0, 310.0], "jobs/s", True),
        ([300.0, 310.0], [500.0, 510.0], "jobs/s", False),
    ],
)
def test_worse_is_a_regression_beyond_a_tenth_and_beyond_the_spread(old, new, unit, is_regression):
    [change] = changes({"a": _measured(*old, unit=unit)}, {"a": _measured(*new, unit=unit)})
    assert change.is_regression is is_regression
    assert str(change).endswith("REGRESSION") is is_regression


def test_rows_that_only_one_of_two_results_has_are_not_compared():
    old = {"a": _measured(1.0), "b": _measured(1.0), "gone": _measured(1.0)}
    new = {"a": _measured(2.0), "b": _measured(1.0, unit="jobs/s"), "new": _measured(1.0)}
    assert [(change.row, change.ratio) for change in changes(old, new)] == [("a", 2.0)]


def test_rows_are_chosen_by_name_or_beginning_in_their_own_order():
    rows = {name: Row(name, "", _measured) for name in ("cold-a", "list-1", "list-10", "cold-b")}

    def names(*given: str) -> list[str]:
        return [row.name for row in chosen(list(given), rows)]

    assert names() == list(rows)
    assert names("list", "cold-b", "cold") == ["cold-a", "list-1", "list-10", "cold-b"]
    assert names("list-1") == ["list-1"]
    with pytest.raises(ValueError, match="warm"):
        names("cold", "warm")


def test_a_row_that_fails_or_cannot_run_is_an_outcome():
    def fail(stage: Stage) -> Measured:
        raise RuntimeError("no such thing\nat all")

    def skip(stage: Stage) -> Measured:
        raise Skipped("no mvn here")

    failed, skipped = (outcome_of(Row("a", "what", measure), Stage(), "c0ffee") for measure in (fail, skip))
    assert (failed.error, failed.measured, failed.is_met) == ("RuntimeError: no such thing", None, None)
    assert (skipped.skipped, skipped.error) == ("no mvn here", "")


def test_results_come_back_from_their_file_and_stay_unless_the_machine_differs(tmp_path: Path):
    file = tmp_path / "performance.json"
    results = Results(MACHINE)
    results.put("b", Outcome("is b", is_met=True, measured=_measured(0.5, other=Series([1.0], warm_up=3))), ["a", "b"])
    results.put("a", Outcome("is a", error="broken"), ["a", "b"])
    results.save(file)
    again = Results.of_machine(MACHINE, file)
    assert list(again.outcomes.items()) == list(results.outcomes.items())
    assert list(again.outcomes) == ["a", "b"]
    assert Results.of_machine(MACHINE | {"ray": "2"}, file).outcomes == {}


def test_a_row_that_is_no_more_leaves_the_results():
    results = Results(MACHINE, {"gone": Outcome("is gone")})
    results.put("a", Outcome("is a"), ["a"])
    assert list(results.outcomes) == ["a"]


def test_the_table_has_a_line_per_row_whatever_became_of_it():
    measured = Measured(Series([n / 1000 for n in range(1, 101)], warm_up=10), {"RayDP": Series([0.101])})
    outcomes = {
        "fast": Outcome("a job", "<= 1x RayDP", True, measured),
        "slow": Outcome("a start", "<= 1.00 s", False, _measured(2.0, 3.0, 4.0)),
        "once": Outcome("a size", measured=_measured(2**20, unit="bytes")),
        "broken": Outcome("a wish", error="RuntimeError: a | b"),
        "left-out": Outcome("a peer", skipped="no mvn here"),
    }
    lines = table(outcomes).splitlines()[2:]
    assert lines == [
        "| `fast`: a job | 50.5 ms (p99 99.0 ms; 1.00 ms to 100 ms) | RayDP: 101 ms | 0.500x | <= 1x RayDP | yes "
        "| 100 + 10 |",
        "| `slow`: a start | 3.00 s (2.00 s to 4.00 s) |  |  | <= 1.00 s | **no** | 3 + 0 |",
        "| `once`: a size | 1.00 MiB |  |  |  |  | 1 + 0 |",
        "| `broken`: a wish | failed: RuntimeError: a \\| b |  |  |  |  |  |",
        "| `left-out`: a peer | skipped: no mvn here |  |  |  |  |  |",
    ]


def test_the_section_is_replaced_in_place_and_nothing_else():
    page = f"# Title\n\nabove\n\n{BEGIN}\nold\n{END}\n\nbelow\n"
    assert with_section(page, "new") == f"# Title\n\nabove\n\n{BEGIN}\nnew\n{END}\n\nbelow\n"


def test_a_page_without_marks_gets_the_section_under_its_heading():
    once = with_section("# Title\n\nbelow\n", "new")
    assert once == f"# Title\n\n{BEGIN}\nnew\n{END}\n\nbelow\n"
    assert with_section(once, "newer") == once.replace("new", "newer")


def test_answers_count_in_the_window_in_which_they_came():
    answers = answers_in([9.9, 10.0, 10.5, 11.2, 12.0], refused=[9.0, 10.1], begun=10.0, windows=2)
    assert (answers.rates, answers.refused) == ([2.0, 1.0], 1)


def test_gains_say_how_many_times_better_best_first_whichever_way_is_better():
    rows = {
        "time": _measured(1.0, other=Series([4.0])),
        "rate": _measured(50.0, unit="jobs/s", other=Series([100.0], "jobs/s")),
        "alone": _measured(1.0),
    }
    assert plots.gains(rows) == [("time: other", 4.0), ("rate: other", 0.5)]


def test_what_pictures_show_is_taken_from_the_rows_by_their_names():
    rows = {
        "list-1m": _measured(0.006, other=Series([0.004])),
        "list-10k": _measured(0.005, other=Series([0.004])),
        "noop-clients-8": _measured(300.0, unit="jobs/s"),
        "noop-http": _measured(0.004),
    }
    assert plots.histories(rows) == {"list": {0: 4.0, 10_000: 5.0, 1_000_000: 6.0}}
    assert list(plots.rates(rows)) == [8]
    assert list(plots.latencies(rows)) == ["noop-http"]


def test_the_same_results_make_the_same_pictures(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="only scripts/bench installs it")
    rows = {"list-1m": _measured(0.006, other=Series([0.004])), "noop-http": _measured(0.004, 0.005)}
    drawn = plots.draw(rows, tmp_path / "one")
    assert list(drawn) == ["ratios.svg", "latency.svg", "history.svg"]
    plots.draw(rows, tmp_path / "two")
    for file in drawn:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
