"""The alert rules: what they read exists, where they lead exists, and how they are evaluated."""

from __future__ import annotations

import re

import pytest

from barstream.metrics import Metrics
from tests.chaos.runs.alerts import Rule, Seen, fired, holds, rules_of
from tests.chaos.runs.scrape import Numbers, parse
from tests.pipeline import ROOT

#: What these tell is told by another metric too, or it is good news.
NO_ALERT = {
    "barstream_build_info",
    "barstream_http_connections",
    "barstream_http_rows",
    "barstream_standby_partitions",
    "barstream_standby_rows_total",
    "barstream_bars_final_total",
    "barstream_bars_live_total",
    "barstream_rollups_final_total",
    "barstream_invariant_checks_total",
    "barstream_heartbeats_sent_total",
    "barstream_flush_rows_total",
    "barstream_schedule_series",
}
#: Alerts that no randomised run shows firing, and the tests that do, with real parts.
SHOWN_BY = {
    "BarstreamTailLost": "tests/functional/test_lost_tail.py",
    "BarstreamWorkerFailed": "tests/functional/test_lost_tail.py",
    "BarstreamSeriesRespelled": "tests/functional/test_case_kept.py",
    "BarstreamScheduleRowsRefused": "tests/functional/test_schedule_changes.py",
    "BarstreamRejectedTooManySeries": "tests/functional/test_limits.py",
    "BarstreamSeriesNearLimit": "tests/functional/test_limits.py",
    "BarstreamRulesDiffer": "tests/upgrade/test_mixed_versions.py",
    "BarstreamSettingsDiffer": "tests/upgrade/test_mixed_versions.py",
    "BarstreamHttpConnectionsRefused": "tests/serve/test_connections.py",
    "BarstreamHttpConnectionsCrowded": "tests/functional/test_descriptors.py",
    "BarstreamHttpReadsRefused": "tests/serve/test_quota.py",
}
PAGE_OF_RUNS = ROOT / "docs" / "fault-runs.md"
SUFFIXES = ("_bucket", "_sum", "_count")


def shown() -> set[str]:
    """Names of our metrics as they are scraped."""
    names = set()
    for family in Metrics().registry.collect():
        if family.name.startswith("barstream_"):
            names.add(family.name + ("_total" if family.type == "counter" else ""))
    return names


def base_of(metric: str) -> str:
    return next((metric.removesuffix(s) for s in SUFFIXES if metric.endswith(s)), metric)


def test_every_metric_has_an_alert_or_is_known_to_need_none() -> None:
    alerted = {base_of(metric) for rule in rules_of() for metric in rule.metrics} - {"up"}
    assert alerted - shown() == set(), "a rule reads what nobody shows"
    assert shown() - alerted - NO_ALERT == set(), "a rule in docs/alerts.yml, or a line in NO_ALERT"
    assert alerted & NO_ALERT == set()


def test_every_rule_leads_to_a_place_in_the_run_book() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    anchors = set(re.findall(r'<a id="([^"]+)">', page))
    anchors |= {line.strip("# ").lower().replace(" ", "-") for line in page.splitlines()}
    for rule in rules_of():
        path, _, anchor = rule.runbook.partition("#")
        assert path == "docs/operations.md", rule
        assert anchor in anchors, rule


def test_every_alert_is_shown_firing() -> None:
    """In a fault run on a real Kafka, or by a test that asks for it by name."""
    in_runs = set(re.findall(r"^\| (Barstream\w+) \|", PAGE_OF_RUNS.read_text(), re.MULTILINE))
    every = {rule.name for rule in rules_of()}
    assert every - in_runs == set(SHOWN_BY) - in_runs, (
        "a test that shows it, and a line in SHOWN_BY"
    )
    for alert, test in SHOWN_BY.items():
        assert f'"{alert}"' in (ROOT / test).read_text(), alert


def test_names_of_rules_are_unique() -> None:
    names = [rule.name for rule in rules_of()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("rule", rules_of(), ids=lambda rule: rule.name)
def test_fault_runs_can_tell_whether_a_rule_holds(rule: Rule) -> None:
    metrics = re.findall(r"barstream_\w+", rule.expr)
    seen = history(*(at(second, **dict.fromkeys(metrics, second)) for second in (1, 2)))
    assert holds(rule.expr, seen, 2) in {True, False}


def at(second: float, **metrics: float) -> Numbers:
    return Numbers({(name, frozenset()): value for name, value in metrics.items()}, second)


def history(*answers: Numbers, **others: list[Numbers]) -> Seen:
    return Seen({"w0": list(answers), **others})


def test_a_gauge_fires_for_any_worker() -> None:
    seen = history(at(1, barstream_ready=1), w1=[at(1, barstream_ready=0)])
    assert holds("barstream_ready == 0", seen, 1)
    assert not holds("min(barstream_ready) > 0", seen, 1)
    assert holds("sum(barstream_ready) == 1", seen, 1)
    assert not holds("barstream_ready == 0", seen, 0.5), "nothing was seen then"


def test_an_increase_is_counted_over_a_restart_and_only_within_its_range() -> None:
    seen = history(at(0, c_total=5), at(10, c_total=7), at(20, c_total=1), at(30, c_total=1))
    assert holds("increase(c_total[1m]) == 3", seen, 30)
    assert holds("increase(c_total[10s]) == 0", seen, 30)


def test_a_counter_that_was_not_there_before_has_not_risen() -> None:
    """As in Prometheus: so counters are shown at 0 from the start."""
    seen = history(at(0), at(10, c_total=7))
    assert not holds("increase(c_total[1m]) > 0", seen, 10)


def test_labels_select() -> None:
    samples = parse('barstream_x{a="1",b="2"} 3\nbarstream_x{a="2"} 5\nother 1')
    seen = Seen({"w0": [Numbers(samples, 1.0)]})
    assert holds('barstream_x{a="2"} == 5', seen, 1)
    assert holds('sum(barstream_x{b="2"}) == 3', seen, 1)
    assert not holds('barstream_x{a="3"} > 0', seen, 1)


def test_terms_are_combined_only_when_they_are_one_number() -> None:
    seen = history(at(0, a_total=0, b_total=0), at(9, a_total=4, b_total=2))
    assert holds("sum(increase(a_total[1m])) / sum(increase(b_total[1m])) > 1.9", seen, 9)
    assert holds("sum(increase(a_total[1m])) - sum(increase(b_total[1m])) == 2", seen, 9)
    assert holds("max(a_total) == 4 and min(b_total) > 1", seen, 9)
    assert holds("time() - max(b_total) == 7", seen, 9)
    assert holds("time() - a_total < 6", seen, 9)
    assert not holds("time() - a_total < 5", seen, 9)
    assert not holds("sum(increase(a_total[1m])) / sum(increase(c_total[1m])) > 0", seen, 9)
    for unpaired in ("a_total / b_total > 0", "a_total > 0 and b_total > 0"):
        with pytest.raises(ValueError, match="aggregated"):
            holds(unpaired, seen, 9)


def test_a_rule_has_fired_when_it_held_at_any_moment() -> None:
    rules = [Rule("A", "g > 1", ""), Rule("B", "g > 3", "")]
    assert fired(rules, {"w0": [at(1, g=0), at(2, g=2), at(3, g=0)]}) == ["A"]


def test_what_a_worker_shows_no_longer_does_not_hold() -> None:
    assert not holds("g == 1", history(at(1, g=1), at(2)), 2)
