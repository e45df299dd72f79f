"""Change points over constructed runs: what changed, when, where, and above all what did not."""

import random

import msgspec
import pytest
from changes import made_series
from made_history import FULL, LORA, noisy, replicate, runs_of, started

from alignmeter.analysis.history import change_points, changes_of, history, node_differences, series
from alignmeter.analysis.history.words import absences_text, summary_text
from alignmeter.analysis.metrics import METRICS

GPU = {"device": "H100", "uuid": "GPU-1", "kind": "vram"}


def changes_in(pairs, metrics=()):
    return change_points(series(pairs, metrics))


def differing(change):
    return {found.field: (found.before, found.after) for found in change.differences}


def test_a_step_is_found_at_its_run_with_both_levels():
    times = noisy(30, start=18, factor=1.05)
    time, tokens = changes_in(runs_of(times))
    assert (time.metric, time.verdict) == ("time", "regressed")
    assert (tokens.metric, tokens.verdict) == ("tokens", "regressed")
    assert (time.run_before, time.run) == ("run-017", "run-018")
    assert time.started == started(18)
    assert (time.before.runs, time.after.runs) == (18, 12)
    assert time.low < 1.05 < time.high
    assert time.ratio == pytest.approx(1 / tokens.ratio)
    assert time.effect_percent == pytest.approx(100 * (time.ratio - 1))
    assert time.before.low < time.before.value < time.before.high < time.after.low
    assert 0 < time.p_value < 0.01


def test_a_calm_history_has_no_change():
    pairs = [pair for seed in range(6) for pair in runs_of(noisy(40, seed), host=f"host-{seed}")]
    found = history(series(pairs))
    assert (found.changes, found.node_differences) == ([], [])
    assert (found.runs, found.cells, found.series, found.short) == (40, 1, 18, 0)


def test_what_is_slower_and_then_as_fast_again_is_two_changes():
    times = [t * (1.05 if 10 <= number < 20 else 1.0) for number, t in enumerate(noisy(30, 2))]
    worse, better = changes_in(runs_of(times), ["time"])
    assert (worse.verdict, better.verdict) == ("regressed", "improved")
    assert (worse.run, better.run) == ("run-010", "run-020")
    assert (worse.before.runs, worse.after.runs, better.after.runs) == (10, 10, 10)


def test_a_change_below_the_smallest_effect_is_none():
    calm = noisy(30, noise=0.002, start=15, factor=1.02)
    assert changes_in(runs_of(calm)) == []
    assert changes_in(runs_of(noisy(30, noise=0.002, start=15, factor=1.035)))


def test_one_run_that_is_off_is_no_change():
    times = noisy(30)
    times[12] *= 1.5
    assert changes_in(runs_of(times)) == []


def test_five_runs_are_too_few_for_time_but_not_for_memory():
    pairs = runs_of([0.2, 0.2, 0.2, 0.4, 0.4], peaks=[1000, 1000, 1000, 1000, 1010])
    found = history(series(pairs))
    assert [(change.metric, change.run) for change in found.changes] == [("memory", "run-004")]
    assert (found.series, found.short) == (3, 2)


@pytest.mark.parametrize(
    ("peaks", "runs"),
    [
        ([1000, 1009, 1000, 1009], []),
        ([1000, 1010], ["run-001"]),
        ([1000, 990], ["run-001"]),
        ([1000, 2000, 1000], ["run-001", "run-002"]),
        ([1000, 1004, 1008, 1012, 1016], ["run-003"]),  # slow growth, against the level's start
    ],
)
def test_bytes_change_from_the_smallest_effect_on(peaks, runs):
    found = changes_in(runs_of([0.2] * len(peaks), peaks=peaks), ["memory"])
    assert [change.run for change in found] == runs
    for change in found:
        assert change.low == change.ratio == change.high
        assert change.p_value is None


def test_equal_input_gives_equal_output_in_any_order():
    rng = random.Random(4)
    pairs = [
        *runs_of(noisy(30, 5, start=12, factor=1.05)),
        *runs_of(noisy(30, 6, start=21, factor=0.93), LORA),
    ]
    found = series(pairs)
    first = change_points(found)
    assert len(first) == 4
    shuffled = rng.sample(pairs, len(pairs))
    assert series(shuffled) == found
    assert change_points(series(shuffled)) == change_points(found) == first
    assert change_points(found[::-1]) == first


def test_spoiled_replicates_are_left_out_and_counted():
    times = noisy(30)
    pairs = runs_of(times)
    for number in range(15, 30):  # a busy host, in a second replicate of each later run
        slow = replicate(number=1, seconds=0.3, bad=("time",), started=started(number))
        pairs.append((f"run-{number:03d}", slow))
    pairs.sort(key=lambda pair: pair[0])
    found = history(series(pairs))
    assert found.changes == []
    assert found.invalid == {"time": 15, "tokens": 15}


def test_a_run_of_spoiled_replicates_only_has_no_point():
    pairs = runs_of(noisy(8))
    pairs[3] = ("run-003", replicate(bad=("time",), started=started(3)))
    points = {one.metric: one.points for one in series(pairs)}
    assert [point.run for point in points["time"]] == [f"run-{n:03d}" for n in range(8) if n != 3]
    assert len(points["memory"]) == 8


def test_the_replicates_of_a_run_are_one_point_with_an_interval():
    pairs = [
        ("run", replicate(number=number, seconds=seconds, started=started(0)))
        for number, seconds in enumerate((0.1, 0.2, 0.4))
    ]
    (point,) = next(one for one in series(pairs) if one.metric == "time").points
    assert (point.value, point.replicates) == (pytest.approx(0.2), 3)
    assert point.low < 0.2 < point.high


def test_energy_of_another_scope_is_another_series():
    pairs = runs_of([0.2] * 8, joules=50.0) + [
        ("late", replicate(joules=90.0, scope="module", started=started(n))) for n in range(10, 18)
    ]
    energy = [one for one in series(pairs) if one.metric == "energy"]
    assert [one.kind for one in energy] == ["counter of gpu", "counter of module"]
    assert change_points(energy) == []


def test_it_says_what_differs_between_the_two_runs():
    change = {
        "commit": "b" * 40, "driver": "580", "versions": {"torch": "2.13.0"},
        "power_cap_w": 350.0, "clocks_mhz": {"compute": 1200.0, "memory": 2600.0},
        "environment": {"OMP_NUM_THREADS": "1"},
    }  # fmt: skip
    (found,) = changes_in(
        runs_of(
            noisy(20, start=10, factor=1.1), change=(10, change), driver="570", power_cap_w=700.0,
            clocks_mhz={"compute": 1700.0, "memory": 2619.0}, **GPU,
        ),
        ["time"],
    )  # fmt: skip
    assert differing(found) == {
        "commit": ("a" * 40, "b" * 40),
        "driver": ("570", "580"),
        "torch": ("2.12.0", "2.13.0"),
        "power_cap_w": ("700.0", "350.0"),
        "environment.OMP_NUM_THREADS": ("none", "1"),
        "compute clock": ("1700 MHz", "1200 MHz"),  # the memory clock's 1 % does not count
    }
    assert (found.commit_before, found.commit) == ("a" * 40, "b" * 40)


def two_nodes(factors, changes=(None, None), start=15):
    """The same cell on two nodes, hours apart; each with its own change."""
    pairs = []
    for number, (factor, change) in enumerate(zip(factors, changes, strict=True)):
        times = noisy(30, seed=20 + number, start=start, factor=factor)
        pairs += runs_of(
            times, hours=3 * number, name=f"node-{number}", host=f"node-{number}", change=change
        )
    return pairs


def test_a_change_on_all_nodes_is_software():
    new = (15, {"commit": "b" * 40})
    found = changes_in(two_nodes((1.06, 1.06), (new, new)), ["time"])
    assert {change.node.host for change in found} == {"node-0", "node-1"}
    for change in found:
        assert change.scope == "all nodes"
        assert change.nodes_changed == change.nodes_watching == ["node-0/cpu", "node-1/cpu"]


def test_a_change_on_one_node_says_so():
    (found,) = changes_in(two_nodes((1.06, 1.0)), ["time"])
    assert found.scope == "one node"
    assert found.nodes_changed == ["node-0/cpu"]
    assert found.nodes_watching == ["node-0/cpu", "node-1/cpu"]


def test_a_node_that_kept_its_commit_has_not_seen_the_new_one():
    (found,) = changes_in(two_nodes((1.06, 1.0), ((15, {"commit": "b" * 40}), None)), ["time"])
    assert (found.scope, found.nodes_watching) == ("only node", ["node-0/cpu"])


def test_opposite_changes_at_one_time_are_not_one_change():
    found = changes_in(two_nodes((1.06, 0.94)), ["time"])
    assert [change.scope for change in found] == ["one node", "one node"]


def test_some_nodes():
    pairs = two_nodes((1.06, 1.06)) + runs_of(noisy(30, 30), hours=6, name="calm", host="calm")
    found = changes_in(pairs, ["time"])
    assert [change.scope for change in found] == ["some nodes", "some nodes"]
    assert all("calm/cpu" not in change.nodes_changed for change in found)


def test_the_same_commits_at_another_time_are_the_same_software():
    """One node got the new commit ten days later."""
    pairs = []
    for number, start in enumerate((10, 20)):
        times = noisy(30, seed=20 + number, start=start, factor=1.06)
        pairs += runs_of(times, name=f"node-{number}", host=f"node-{number}",
                         change=(start, {"commit": "b" * 40}))  # fmt: skip
    assert [change.scope for change in changes_in(pairs, ["time"])] == ["all nodes", "all nodes"]


def test_nodes_that_differ_are_no_change():
    pairs = runs_of(noisy(20, 1), host="a") + runs_of(
        noisy(20, 2, level=0.22), host="b", name="other", hours=1, driver="9"
    )
    found = history(series(pairs))
    assert found.changes == []
    time = next(one for one in found.node_differences if one.metric == "time")
    assert (time.node.host, time.other.host, time.together) == ("b", "a", True)
    assert time.low < 1.1 < time.high
    assert [found.field for found in time.differences] == ["driver"]
    assert {one.metric for one in found.node_differences} == {"time", "tokens"}


def test_a_node_that_followed_another_is_no_change_either():
    times = noisy(20, 3, start=10, factor=1.2)
    old, new = (runs_of(times, host=host) for host in ("a", "b"))
    found = history(series(old[:10] + new[10:], ["time"]))
    assert found.changes == []
    (difference,) = found.node_differences
    assert difference.together is False
    assert abs(difference.ratio - 1) == pytest.approx(0.2, abs=0.05)


def test_nodes_are_compared_since_their_last_change_only():
    """Both end on the same level, so they do not differ."""
    found = series(two_nodes((1.2, 1.2)), ["time"])
    shifted = series(two_nodes((1.2, 1.0)), ["time"])
    assert node_differences(found, change_points(found)) == []
    (difference,) = node_differences(shifted, change_points(shifted))
    assert 1.1 < max(difference.ratio, 1 / difference.ratio) < 1.3


def test_changes_of_gives_those_of_one_series():
    found = series(runs_of(noisy(30, start=18, factor=1.05)) + runs_of(noisy(30, 2), LORA))
    changes = change_points(found)
    mine = [one for one in found if changes_of(one, changes)]
    assert {(one.cell_id, one.metric) for one in mine} == {
        (FULL.cell.id, "time"), (FULL.cell.id, "tokens")}  # fmt: skip


def test_a_lone_change_among_many_series_needs_better_evidence():
    """The bound is for all series together: what one series shows may not be enough among 100."""
    step = made_series(noisy(30, 8, start=27, factor=1.05), "step")
    calm = [made_series(noisy(30, 100 + n), f"calm-{n}") for n in range(100)]
    assert [change.cell_id for change in change_points([step])] == ["step"]
    assert change_points([step, *calm]) == []
    clear = made_series(noisy(30, 8, start=15, factor=1.05), "clear")
    assert [change.cell_id for change in change_points([clear, *calm])] == ["clear"]


def test_every_metric_can_be_followed():
    found = series(runs_of(noisy(3), joules=50.0))
    assert [one.metric for one in found] == list(METRICS)


def test_a_cell_that_a_node_stopped_giving_is_lost_and_one_of_another_matrix_is_not():
    """LORA runs until run 8 of 10 and is lost in the newest, 9; a single early run is no habit."""
    runs = sorted([*runs_of([0.2] * 10), *runs_of([0.2] * 9, LORA)], key=lambda pair: pair[0])
    found = history(series(runs))
    (lost,) = found.lost
    assert (lost.cell_id, lost.run, lost.last_run) == (LORA.cell.id, "run-009", "run-008")
    assert "lost: " in " ".join(absences_text(found))
    once = sorted([*runs_of([0.2] * 10), *runs_of([0.2], LORA)], key=lambda pair: pair[0])
    assert history(series(once)).lost == []
    broken = [pair for pair in runs if pair[1].cell != LORA.cell] + [
        (run, msgspec.structs.replace(record, status="oom")) if run == "run-009" else (run, record)
        for run, record in runs_of([0.2] * 10, LORA)
    ]
    broken.sort(key=lambda pair: pair[0])
    assert [lost.cell_id for lost in history(series(broken)).lost] == [LORA.cell.id]


def test_a_node_that_went_silent_is_named_where_others_went_on():
    """A run a day: two days late is usual, three is not. Alone nobody knows."""

    def silent(days):
        other = runs_of([0.2] * (10 - days), name="b", host="two")
        pairs = [*runs_of([0.2] * 10, name="a"), *other]
        return [one.node.host for one in history(series(pairs)).silent]

    assert silent(0) == silent(1) == silent(2) == []
    assert silent(3) == silent(6) == ["two"]
    assert history(series(runs_of([0.2] * 10))).silent == []


def test_too_few_runs_say_how_many_it_takes():
    def said(count, metrics):
        return summary_text(history(series(runs_of([0.2] * count), metrics)))

    assert said(5, ["time"]) == "too few runs to tell (needs 6): 1 series of 1 cell over 5 runs"
    assert said(6, ["time"]) == "no change in 1 series of 1 cell over 6 runs"
    both = "no change in 2 series of 1 cell over 5 runs; 1 of them: too few runs to tell (needs 6)"
    assert said(5, ["time", "memory"]) == both
