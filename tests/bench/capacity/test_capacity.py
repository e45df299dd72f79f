"""The search on simulated steps, its typed result, and real searches in real workers."""

import math
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_capacity import make_point, make_try

from alignmeter.analysis.capacity import (
    merged,
    plan_error_percent,
    search_key,
    search_name,
    shape,
    summary,
)
from alignmeter.capacity import attempt
from alignmeter.capacity import find as searching
from alignmeter.capacity.attempt import StepMemory
from alignmeter.capacity.find import find_capacity
from alignmeter.capacity.limits import read_memory_limit
from alignmeter.capacity.search import Hint, Outcome, find_largest
from alignmeter.errors import CellError, InputError
from alignmeter.planner import NotPlannedError
from alignmeter.plugin.capacity import CapacityBench, store_point
from alignmeter.records.capacity import (
    SCHEMA_VERSION,
    Capacity,
    Searches,
    decode_capacity,
    encode_capacity,
)
from alignmeter.records.folder import CAPACITY_FILE, load_folders
from alignmeter.records.prediction import Prediction
from alignmeter.records.record import Provenance, Reason
from alignmeter.session import Planned, Settings, resolve
from alignmeter.terminal import tables
from alignmeter.terminal.capacity import capacity_parts
from alignmeter.units import GIB, MIB

QUICK = Settings(timeout_s=120)
KIND = "cpu tensor storage"


class Oracle:
    """A step that needs ``used(value)`` bytes; the tries are kept in order."""

    def __init__(self, used, limit, *, measured=True):
        """``measured``: whether a try above the limit tells what it would have needed."""
        self.used, self.limit, self.measured = used, limit, measured
        self.tries = []

    def __call__(self, value):
        self.tries.append(value)
        used = self.used(value)
        fits = used <= self.limit
        return Outcome(fits=fits, used_bytes=used if fits or self.measured else None)


@st.composite
def lines(draw, most=5000):
    """The largest value that fits, its need a + b value, and a limit that no further one meets."""
    largest = draw(st.integers(1, most))
    a, b = draw(st.integers(0, 10**9)), draw(st.integers(1000, 10**7))
    limit = a + b * largest + draw(st.integers(0, b - 1))
    return largest, lambda value: a + b * value, b, limit


@given(line=lines(), start=st.floats(0.5, 1.5), slope=st.floats(0.5, 1.5))
def test_on_a_straight_line_four_tries_do(line, start, slope):
    """One where the plan is, one where its slope meets the limit, one on the line through both,
    one above: however far off the plan is.
    """
    largest, used, b, limit = line
    oracle = Oracle(used, limit)
    hint = Hint(start=round(start * largest), limit_bytes=limit, slope=slope * b)
    assert find_largest(oracle, hint) == largest
    assert len(oracle.tries) <= 4


@given(line=lines())
def test_a_plan_that_is_right_takes_two_tries(line):
    largest, used, b, limit = line
    oracle = Oracle(used, limit)
    hint = Hint(start=largest, limit_bytes=limit, slope=b)
    assert find_largest(oracle, hint) == largest
    assert oracle.tries == [largest, largest + 1]


@given(line=lines(), off=st.floats(-1 / 16, 1 / 16), slope=st.floats(15 / 16, 17 / 16))
def test_a_plan_off_by_a_sixteenth_without_figures_of_what_failed(line, off, slope):
    """An allocation that failed has no figure.

    After two tries one value that fits and one that does not are known, about a sixteenth of the
    value apart at most; from there three tries at least halve what is between.
    """
    largest, used, b, limit = line
    oracle = Oracle(used, limit, measured=False)
    start = round(largest * (1 + off))
    assert find_largest(oracle, Hint(start=start, limit_bytes=limit, slope=slope * b)) == largest
    assert len(oracle.tries) <= 3 + 3 * math.ceil(math.log2(max(2, largest / 8)))


@given(
    largest=st.integers(0, 3000),
    start=st.integers(0, 6000),
    slope=st.sampled_from([None, -5.0, 1e-9, 1.0, 1e5, 1e12]),
    measured=st.booleans(),
    data=st.data(),
)
def test_any_step_that_grows_is_searched_to_its_end(largest, start, slope, measured, data):
    """Figures that mislead cost tries, not the result: strides double until both sides are known,
    then three tries halve what is between, at most four times the larger one.
    """
    limit = 10**6
    below, above = st.integers(0, limit), st.integers(limit + 1, 2 * limit)
    oracle = Oracle(
        lambda value: data.draw(below if value <= largest else above), limit, measured=measured
    )
    found = find_largest(oracle, Hint(start=start, limit_bytes=limit, slope=slope))
    assert found == (largest or None)
    assert len(oracle.tries) == len(set(oracle.tries))
    distance = abs(start - largest)
    strides = math.log2(distance + 2) + 6
    assert len(oracle.tries) <= strides + 3 * math.log2(4 * largest + distance + 2)


def test_the_search_stays_between_least_and_most():
    everything = Oracle(lambda value: value, 100)
    assert find_largest(everything, Hint(start=7, limit_bytes=100, slope=1.0, most=9)) == 9
    nothing = Oracle(lambda value: value, 2)
    assert find_largest(nothing, Hint(start=7, limit_bytes=2, slope=1.0, least=3)) is None
    assert min(nothing.tries) == 3


def test_after_a_failure_that_is_not_memorys_the_smallest_is_tried():
    tried = []

    def attempt(value):
        tried.append(value)
        return Outcome(fits=False, about_memory=False)

    assert find_largest(attempt, Hint(start=500, limit_bytes=1, slope=1.0)) is None
    assert tried == [500, 1]


# --- the typed result


def capacity_of(*points):
    return Capacity(schema_version=SCHEMA_VERSION, alignmeter="0.1.0", points=list(points))


def test_a_frontier_survives_its_file():
    points = [make_point(), make_point(axis="seq_len", tries=(), planned=None, reason="no cuda")]
    data = encode_capacity(capacity_of(*points))
    assert data.endswith(b"}\n")
    assert decode_capacity(data, "f.json").points == points


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"schema_version": 2', b'"schema_version": 9', "schema_version is 9; this version reads"),
        (b'"axis": "batch"', b'"axis": "lane"', r"Invalid enum value 'lane' - at `\$.points"),
        (b'"value": 45', b'"value": -45', "Expected `int` >= 0"),
        (b'"largest": 45', b'"largest": 44', "largest is 44, but the tries say 45"),
        (b'"refused": 46', b'"refused": 47', "refused is 47, but the tries say 46"),
        (b'"peak_bytes": 266338304,\n   "ref', b'"peak_bytes": 5,\n   "ref', "not that of the try"),
        (b'"seconds": 2', b'"seconds": NaN', "malformed"),
        (b'"limit_given"', b'"limit_taken"', "unknown field `limit_taken`"),
        (b"{", b"", "not the capacity file"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(old, new, words):
    data = encode_capacity(capacity_of(make_point()))
    assert old in data
    with pytest.raises(InputError, match=rf"^x/f\.json: .*{words}"):
        decode_capacity(data.replace(old, new, 1), "x/f.json")


@pytest.mark.parametrize(
    ("text", "count"),
    [("512MiB", 512 * MIB), ("1.5GiB", 3 * GIB // 2), (" 2 GiB ", 2 * GIB), ("2048KiB", 2 * MIB)],
)
def test_a_memory_limit_is_read(text, count):
    assert read_memory_limit(text) == count


@pytest.mark.parametrize(
    "text", ["", "2", "2GB", "512M", "0MiB", "1KiB", "-1GiB", "1e3MiB", "nan GiB", "1GiB 2", "٣GiB"]
)
def test_a_bad_memory_limit_says_what_is_right(text):
    with pytest.raises(InputError, match=r"--memory-limit: .*KiB, MiB or GiB, e\.g\. 512MiB"):
        read_memory_limit(text)


def test_a_search_is_known_by_all_but_its_axis():
    cell = make_point().cell
    batch = make_point(axes={"batch": 7}).cell
    longer = make_point(axes={"seq_len": 256}).cell
    response = make_point(axes={"seq_len": 256, "prompt_len": 240}).cell
    assert search_key(cell, "batch") == search_key(batch, "batch")
    assert search_key(cell, "seq_len") != search_key(batch, "seq_len")
    assert search_key(cell, "seq_len") == search_key(longer, "seq_len")
    assert search_key(longer, "seq_len") != search_key(response, "seq_len")


def test_a_new_search_replaces_the_same_one_within_the_same_limit():
    old, other = make_point(), make_point(limit_bytes=GIB)
    new = make_point(tries=(make_try(3, peak_mib=9), make_try(4, "oom")), axes={"batch": 5})
    assert merged([old, other], new) == [other, new]
    longest = make_point(axis="seq_len")
    assert merged([old], longest) == [old, longest]


def test_names_shapes_and_errors():
    point = make_point(axes={"batch": 7, "seq_len": 256}, planned=54)
    assert search_name(point) == "dpo-llama-tiny-full-cpu-t256-synthetic"
    assert shape(point) == (256, 45)
    assert plan_error_percent(point) == 20
    tries = (make_try(1408, peak_mib=250), make_try(1472, "oom"))
    longest = make_point(axes={"seq_len": 256, "batch": 7}, axis="seq_len", tries=tries)
    assert search_name(longest) == "dpo-llama-tiny-full-cpu-b7-synthetic"
    assert shape(longest) == (1408, 7)
    nothing = make_point(tries=(make_try(1, "oom"),))
    assert shape(nothing) is None
    assert plan_error_percent(nothing) is None


def test_the_terminal_shows_a_row_per_search_and_sums_up():
    nothing = make_point(
        axes={"method": "ppo"}, planned=0, tries=(make_try(1, "oom"),),
        reason="nothing fits: 1 oom: " + "long " * 20,
    )  # fmt: skip
    longest = make_point(axis="seq_len", planned=64, tries=(make_try(64, peak_mib=9),) * 3)
    found = tables.lines(capacity_parts([nothing, make_point(planned=54), longest]))
    assert max(map(len, found)) <= 79
    assert [" ".join(line.split()) for line in found[1:6]] == [
        "dpo-llama-tiny-full-cpu-synthetic",
        "largest batch at T 64 256 MiB 54 45 254 MiB 2",
        "largest seq len at B 2 256 MiB 64 64 9 MiB 3",
        "ppo-llama-tiny-full-cpu-synthetic",
        "largest batch at T 64 256 MiB 0 none - 1",
    ]
    assert " ".join(found[-2:]).strip() == (
        "3 searches, 1 to 3 tries (median 2) each, the plan was exact in 1 of 2 and else off by "
        "+20.0 %"
    )
    assert summary([make_point(planned=45)]) == (
        "1 search, 2 tries each, the plan was exact in 1 of 1"
    )
    assert summary([make_point(planned=54), make_point(planned=36)]).endswith(
        "exact in 0 of 2 and else off by -20.0 to +20.0 %"
    )
    assert summary([]) == "nothing was searched"


# --- searches of cells


@pytest.fixture
def simulated(monkeypatch):
    """A function of a step's needs and failures that gives searches without workers.

    The plan says 10 MiB and 1 MiB for each pair of 64 tokens, ``floor_mib`` at least.
    """

    def prepare(used_mib, *, fails=None, plan_fails=None, capacity=64 * GIB, floor_mib=0):
        def measured(cell, limit_bytes, kind, settings, launcher):
            if fails is not None and (failure := fails(cell)) is not None:
                raise failure
            used = round(MIB * used_mib(cell))
            return StepMemory(peak_bytes=used, used_bytes=used, provenance=Provenance(device="d"))

        def planned(cell):
            if plan_fails is not None:
                raise plan_fails
            peak = max(floor_mib * MIB, 10 * MIB + cell.batch * MIB * cell.seq_len // 64)
            return Prediction(
                cell=cell, peak_bytes=peak, peak_phase=None, peak_operator=None, phases={},
                ledger={}, trained_parameters=1,
            )  # fmt: skip

        place = Provenance(device="d", device_memory_bytes=capacity)
        monkeypatch.setattr(searching, "step_memory", measured)
        monkeypatch.setattr(searching, "plan_cell", planned)
        monkeypatch.setattr(searching, "look_at", lambda *_: place)

    return prepare


def search(cell, axis="batch", limit=100 * MIB, launcher=None, unsupported=None):
    return find_capacity(
        Planned(cell=cell, unsupported=unsupported), axis, memory_limit_bytes=limit,
        settings=QUICK, launcher=launcher,
    )  # fmt: skip


def test_the_search_starts_at_the_plan_and_keeps_every_try(simulated, make_cell):
    simulated(lambda cell: 12 + 1.1 * cell.batch)
    point = search(make_cell(seq_len=64))
    assert (point.planned, point.largest, point.refused) == (90, 80, 81)
    assert point.tries[0].value == 90
    assert len(point.tries) <= 4
    found = {t.value: t for t in point.tries}
    assert (found[80].status, found[81].status) == ("ok", "over_limit")
    assert found[90].predicted_bytes == 100 * MIB
    assert found[80].predicted_bytes == 90 * MIB
    assert found[80].used_bytes == found[80].peak_bytes == point.peak_bytes == 100 * MIB
    assert (point.reason, point.plan_text, point.limit_given) == (None, None, True)
    assert point.provenance.device == "d"


def test_lengths_are_multiples_of_64_and_prompts_stay_half(simulated, make_cell):
    seen = []

    def used(cell):
        seen.append((cell.seq_len, cell.prompt_len))
        return 10 + cell.batch * cell.seq_len / 64

    simulated(used)
    point = search(make_cell(seq_len=64), "seq_len")
    assert (point.planned, point.largest, point.refused) == (45 * 64, 45 * 64, 46 * 64)
    assert all(prompt == length // 2 and length % 64 == 0 for length, prompt in seen)


def test_a_response_of_a_fixed_length_stays_so(simulated, make_cell):
    seen = []

    def used(cell):
        seen.append(cell.seq_len - cell.prompt_len)
        return 1000

    simulated(used)
    point = search(make_cell(seq_len=256, prompt_len=176), "seq_len")
    assert set(seen) == {80}
    assert (point.largest, point.refused) == (None, 128)  # 64 tokens have no room for 80
    assert point.reason == "nothing fits: 128 needs 1000 MiB"


def test_without_a_plan_the_search_starts_at_the_cell(simulated, make_cell):
    simulated(lambda cell: 10 + cell.batch, plan_fails=NotPlannedError("x.y needs values"))
    point = search(make_cell(batch=4))
    assert (point.planned, point.largest) == (None, 90)
    assert point.plan_text == "x.y needs values"
    assert point.tries[0].value == 4
    assert all(attempt.predicted_bytes is None for attempt in point.tries)
    assert plan_error_percent(point) is None


def failing(status, code, *, above):
    return lambda cell: CellError(status, code, "words") if cell.batch > above else None


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("oom", "out_of_memory", None),
        ("timeout", "timeout", "not ended by memory: 51 timeout: words"),
        ("crashed", "worker_died", "not ended by memory: 51 crashed: words"),
        ("crashed", "exception", "not ended by memory: 51 crashed: words"),
    ],
)
def test_a_failure_in_a_try_is_a_try_and_the_search_goes_on(
    simulated, make_cell, status, code, words
):
    simulated(lambda cell: 10 + cell.batch, fails=failing(status, code, above=50))
    point = search(make_cell(seq_len=64))
    assert (point.largest, point.refused, point.reason) == (50, 51, words)
    assert {t.status for t in point.tries if t.value > 50} == {status}
    assert all(t.text == "words" for t in point.tries if t.value > 50)


def test_that_nothing_fits_is_a_result(simulated, make_cell):
    simulated(lambda _: 0, fails=failing("oom", "out_of_memory", above=0))
    point = search(make_cell(), limit=5 * MIB)
    assert (point.planned, point.largest, point.peak_bytes, point.refused) == (0, None, None, 1)
    assert point.reason == "nothing fits: 1 oom: words"
    assert decode_capacity(encode_capacity(capacity_of(point)), "f").points == [point]


def test_values_that_contradict_the_cell_are_tries_too(simulated, make_cell):
    simulated(lambda _: 1000)
    point = search(make_cell(method="ppo", batch=4, ppo_minibatches=8))
    assert point.largest is None
    assert point.tries[-1].status == "unsupported"
    assert "8 minibatches want more than the 2 rollouts" in point.reason


def test_cells_that_cannot_begin_are_points_with_a_reason(simulated, make_cell, monkeypatch):
    simulated(lambda _: 1)
    absent = Reason(code="accelerator_missing", text="cuda is not on this machine")
    point = search(make_cell(), unsupported=absent)
    assert (point.tries, point.reason) == ([], "cuda is not on this machine")

    def short(*_):
        raise CellError("unsupported", "data_too_short", "too few prompts")

    monkeypatch.setattr(searching, "look_at", short)
    point = search(make_cell(batch=4))
    assert point.reason == "nothing ran: 4 unsupported: too few prompts"
    assert [(t.value, t.status) for t in point.tries] == [(4, "unsupported")]


def test_a_limit_that_cannot_hold_is_refused(simulated, make_cell):
    simulated(lambda _: 1, capacity=16 * GIB)
    with pytest.raises(InputError, match="--memory-limit is 17 GiB, but d has 16 GiB"):
        search(make_cell(), limit=17 * GIB)
    with pytest.raises(InputError, match="a cpu has no limit of its own; give --memory-limit"):
        search(make_cell(), limit=None)


def test_a_plan_that_is_flat_at_first_is_searched_too(simulated, make_cell):
    """The optimizer's step is the peak of small batches and does not grow with them."""
    simulated(lambda cell: max(60, 10 + cell.batch), floor_mib=60)
    point = search(make_cell(seq_len=64, batch=1))
    assert (point.planned, point.largest, len(point.tries)) == (90, 90, 2)


def test_an_accelerators_limit_is_its_memory(simulated, make_cell, monkeypatch):
    """The plan leaves 1 GiB to the context and 3 % to gaps; the search finds what they hide."""
    monkeypatch.setattr(resolve, "missing_text", lambda _: None)
    simulated(lambda cell: 10 + cell.batch, capacity=2 * GIB)
    point = search(make_cell(seq_len=64, accelerator="cuda"), limit=None)
    assert (point.memory_kind, point.limit_given, point.limit_bytes) == ("vram", False, 2 * GIB)
    assert (point.planned, point.largest) == (int(1024 / 1.03) - 10, 2038)


@pytest.mark.full
def test_a_real_search_ends_between_two_neighbours(launcher, make_cell, tmp_path):
    limit = 24 * MIB
    cell = make_cell(seq_len=16)
    point = search(cell, limit=limit, launcher=launcher)
    found = {t.value: t for t in point.tries}
    assert (found[point.largest].status, found[point.refused].status) == ("ok", "over_limit")
    assert point.refused == point.largest + 1
    assert found[point.largest].peak_bytes <= limit < found[point.refused].peak_bytes
    assert len(point.tries) <= 5
    assert found[point.largest].predicted_bytes == pytest.approx(point.peak_bytes, rel=0.1)
    assert abs(plan_error_percent(point)) <= 25
    assert point.provenance.kernel_path["model"] == "transformers"
    store_point(tmp_path, point)
    assert load_folders([tmp_path]).capacity == [point]


@pytest.mark.exhaustive
def test_memory_really_runs_out_and_the_search_and_the_next_cell_go_on(
    launcher, make_cell, monkeypatch
):
    """A plan that promises 25 times too much: the worker's allocation fails, no more than that."""
    true_plan = searching.plan_cell

    def promising(cell):
        found = true_plan(cell)
        grows = max(0, found.peak_bytes - 20 * MIB)
        return msgspec.structs.replace(found, peak_bytes=20 * MIB + grows // 25)

    monkeypatch.setattr(searching, "plan_cell", promising)
    monkeypatch.setattr(attempt, "_SLACK_BYTES", 256 * MIB)
    point = search(make_cell(seq_len=16), limit=32 * MIB, launcher=launcher)
    assert point.planned > 20 * point.largest
    first = point.tries[0]
    assert (first.status, first.peak_bytes) == ("oom", None)
    assert "memory" in first.text or "bad_alloc" in first.text
    assert point.refused == point.largest + 1
    assert point.peak_bytes <= 32 * MIB
    monkeypatch.setattr(searching, "plan_cell", true_plan)
    after = search(make_cell(seq_len=16, peft="lora"), limit=24 * MIB, launcher=launcher)
    assert after.largest > 0
    assert after.tries[0].status in ("ok", "over_limit")


# --- the suite


class Benchmark:
    """What the fixture asks of pytest-benchmark's."""

    def __init__(self):
        self.extra_info = {}

    def pedantic(self, function, args, kwargs, rounds, iterations):
        assert rounds == iterations == 1
        return function(*args, **kwargs)


@pytest.fixture
def bench_of(tmp_path):
    """A function of a cell and a limit that gives the fixture, its benchmark and its searches."""

    def bench(cell, limit=100 * MIB, unsupported=None):
        searches = Searches(folder=tmp_path, limit_bytes=limit)
        benchmark = Benchmark()
        planned = Planned(cell=cell, unsupported=unsupported)
        launcher = SimpleNamespace(begin_round=lambda _: None)
        made = CapacityBench(benchmark, searches, planned, "batch", QUICK, launcher)
        return made, benchmark, searches

    return bench


def test_what_was_found_is_stored_and_in_the_benchmarks_json(simulated, make_cell, bench_of):
    simulated(lambda cell: 10 + cell.batch)
    bench, benchmark, searches = bench_of(make_cell(seq_len=64))
    point = bench.measure()
    assert searches.points == load_folders([searches.folder]).capacity == [point]
    assert benchmark.extra_info == {
        "cell": point.cell.id, "axis": "batch", "limit_bytes": 100 * MIB, "planned": 90,
        "largest": 90, "peak_bytes": 100 * MIB, "tries": [(90, "ok"), (91, "over_limit")],
    }  # fmt: skip
    again = bench.measure()
    assert load_folders([searches.folder]).capacity == [again]


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        ("unsupported", "data_too_short", "skipped"),
        ("crashed", "exception", "failed"),
        ("timeout", "timeout", "failed"),
        ("oom", "out_of_memory", None),
    ],
)
def test_what_a_search_without_a_result_is_to_pytest(
    simulated, make_cell, bench_of, status, code, outcome
):
    """That nothing fits is a result; the rest is stored all the same."""
    simulated(lambda _: 0, fails=failing(status, code, above=0))
    bench, _, searches = bench_of(make_cell())
    if outcome is None:
        assert bench.measure().reason == "nothing fits: 1 oom: words"
    else:
        kind = pytest.skip.Exception if outcome == "skipped" else pytest.fail.Exception
        with pytest.raises(kind, match=f"nothing ran: 1 {status}: words"):
            bench.measure()
    assert load_folders([searches.folder]).capacity == searches.points != []


def test_unsupported_cells_are_skipped_and_stored(make_cell, bench_of):
    absent = Reason(code="library_missing", text="bitsandbytes is not installed")
    bench, _, searches = bench_of(make_cell(), unsupported=absent)
    with pytest.raises(pytest.skip.Exception, match="bitsandbytes is not installed"):
        bench.measure()
    assert [point.reason for point in searches.points] == ["bitsandbytes is not installed"]


def test_what_the_user_got_wrong_fails_with_a_sentence(simulated, make_cell, bench_of):
    simulated(lambda cell: 10 + cell.batch, capacity=16 * GIB)
    bench, _, _ = bench_of(make_cell(), limit=17 * GIB)
    with pytest.raises(pytest.fail.Exception, match="--memory-limit is 17 GiB, but d has 16 GiB"):
        bench.measure()
    bench, _, searches = bench_of(make_cell())
    (searches.folder / CAPACITY_FILE).write_bytes(b"{}")
    with pytest.raises(pytest.fail.Exception, match="schema_version is None; this version reads 1"):
        bench.measure()


SUITE = """
MATRIX = "{matrix}"

def bench_largest_batch(largest_batch):
    largest_batch.measure()

def bench_longest_sequence(longest_sequence):
    longest_sequence.measure()
"""
TINY = """
schema = 1
[defaults]
data = "synthetic"
accelerator = "cpu"
kernels = "stock"
seq_len = [16, 32]
[[grid]]
method = "dpo"
"""


@pytest.fixture
def project(pytester, monkeypatch):
    # pytest-benchmark switches itself off in a process that looks like a test worker of xdist.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini(
        "[pytest]\naddopts = -p alignmeter.plugin --import-mode=importlib\n"
        "python_files = bench_*.py\npython_functions = bench_*\n"
    )
    matrix = pytester.path / "tiny.toml"
    matrix.write_text(TINY)
    (pytester.path / "bench_capacity.py").write_text(SUITE.format(matrix=matrix))
    return pytester


@pytest.mark.exhaustive
def test_the_suite_searches_stores_prints_and_reports(project):
    """Two lengths are two batches to find and one longest sequence."""
    arguments = ("--benchmark", "bench_capacity.py", "--results", "out")
    result = project.runpytest_subprocess(*arguments, "--memory-limit", "30MiB")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "*= capacity =*",
            "*largest batch at T 16 *30 MiB*",
            "3 searches,*",
            "HTML  out*report.html",
        ]
    )
    (path,) = (project.path / "out").glob(CAPACITY_FILE)
    points = decode_capacity(path.read_bytes(), "f").points
    assert sorted((p.axis, p.cell.seq_len) for p in points) == [
        ("batch", 16), ("batch", 32), ("seq_len", 16),
    ]  # fmt: skip
    assert all(p.limit_bytes == 30 * MIB and p.largest for p in points)
    assert 'id="capacity"' in (project.path / "out" / "report.html").read_text()


@pytest.mark.full
def test_without_the_flag_the_suite_is_skipped_with_a_reason(project):
    result = project.runpytest_subprocess("bench_capacity.py", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*measures hardware; run it with `pytest --benchmark`*"])


@pytest.mark.full
def test_a_cpu_without_a_limit_is_skipped_and_told_so(project):
    result = project.runpytest_subprocess("--benchmark", "bench_capacity.py", "--results", "out")
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(
        ["*= capacity =*", "cpu has no limit of its own; give one, e.g. --memory-limit 512MiB"]
    )


def test_a_bad_limit_is_a_usage_error(project):
    result = project.runpytest_subprocess("--benchmark", "--memory-limit", "2GB")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--memory-limit: '2GB' is not an amount of memory*"])
