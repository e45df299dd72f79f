"""Every table of the terminal: with names that are anything but names, at each width."""

import click
import msgspec
import pytest
from made_capacity import make_point
from made_cells import make_cell_records
from made_history import noisy, runs_of
from made_portability import make_row, make_table
from rich.cells import cell_len

from alignmeter.analysis.chips import peaks
from alignmeter.analysis.compare import compare, failures
from alignmeter.analysis.history import history, series
from alignmeter.analysis.prices import Prices
from alignmeter.records.demand import Demand
from alignmeter.records.prediction import Fit, Prediction
from alignmeter.records.record import Reason, Verdict
from alignmeter.terminal.agreement import agreement_parts
from alignmeter.terminal.capacity import capacity_parts
from alignmeter.terminal.comparison import comparison_parts
from alignmeter.terminal.devices import device_parts
from alignmeter.terminal.history import history_parts
from alignmeter.terminal.kernels import kernel_parts
from alignmeter.terminal.plan import plan_parts, plans_parts
from alignmeter.terminal.portability import portability_parts
from alignmeter.terminal.sizes import SizeRow, size_parts
from alignmeter.terminal.summary import summary_parts
from alignmeter.terminal.tables import lines

HOSTILE = "[red]x[/red]\x1b[31m\r\n\u202e\u6f22\u5b57 {x} \\ \x00"
SHOWN = "[red]x[/red]"
GIB = 2**30


def named(record, **changes):
    """A record whose cell, device and host are called so."""
    place = msgspec.structs.replace(record.provenance, host=HOSTILE, kernel_path={HOSTILE: HOSTILE})
    return msgspec.structs.replace(record, provenance=place, **changes)


def pair(device=HOSTILE, **axes):
    return [
        named(record)
        for method in ("dpo", "ppo")
        for record in make_cell_records([0.1, 0.2, 0.3], method=method, device=device, **axes)
    ]


def of_summary():
    bad = Verdict(ok=False, reasons=[Reason(code=HOSTILE, text=HOSTILE)])
    records = [*pair(), *pair(device="cpu"), *pair(batch=4)]
    first = msgspec.structs.replace(records[0], validity={HOSTILE: bad})
    lengths = [record for length in (256, 512, 1024) for record in pair(seq_len=length)]
    return summary_parts([first, *records[1:], *lengths])


def of_comparison():
    renamed = [msgspec.structs.replace(r, cell=msgspec.structs.replace(r.cell, id=HOSTILE))
               for r in pair()[:3]]  # fmt: skip
    slower = [msgspec.structs.replace(r, memory=msgspec.structs.replace(
        r.memory, allocated_peak_bytes=9999)) for r in renamed]  # fmt: skip
    found = compare([*renamed, *pair(peft="lora")], slower)
    return comparison_parts(found, failures(found, None))


def of_history():
    runs = runs_of(noisy(12, 3, start=6, factor=1.1), host=HOSTILE, device=HOSTILE,
                   change=(6, {"versions": {"torch": HOSTILE}}))  # fmt: skip
    runs += runs_of(noisy(12, 4), host="other", name="other", hours=1)
    return history_parts(history(series([(f"{HOSTILE}{run}", record) for run, record in runs])))


def of_capacity():
    cell = make_point().cell
    renamed = msgspec.structs.replace(cell, id=f"dpo-{HOSTILE}-0")
    return capacity_parts([make_point(), make_point(axis="seq_len", reason=HOSTILE),
                           msgspec.structs.replace(make_point(), cell=renamed)])  # fmt: skip


def of_kernels():
    row = {
        "row": f"a kernel {HOSTILE}", "passes": "fwd+bwd", "path": "cpp", "baseline": HOSTILE,
        "ours_s": 0.1, "theirs_s": 0.2, "speedup": 2.0, "ours_added_bytes": 2**20,
        "theirs_added_bytes": 2**21, "memory_ratio": 2.0, "theirs_ended": False,
        "time_per_token": 1.0, "memory_per_token": 1.0, "bytes_per_s": 3e12,
        "share_of_copy": 0.9, "flops_per_s": 5e14, "share_of_product": 0.8,
    }  # fmt: skip
    bare = {"row": "a process", "passes": "process", "path": "best", "baseline": "stock"}
    return kernel_parts([row, bare])


def of_portability():
    longest = {"function": "slopes_of_the_states", "matrix": "v_mfma_f32_16x16x16bf16_1k",
               "occupancy": 64, "occupancy_unit": "waves/WGP", "registers": 256}  # fmt: skip
    rows = make_row(**longest), make_row(function=HOSTILE), make_row(case=HOSTILE, error=HOSTILE)
    return portability_parts(make_table(*rows))


def of_plan():
    fits = {name: Fit(ok=bool(n % 3), spare_bytes=n * GIB, batch=n, seq_len=64 * n, bound_s=n / 7)
            for n, name in enumerate(peaks())}  # fmt: skip
    demand = {HOSTILE: Demand(flops=10**15, moved_bytes=10**12, call_bytes=10**9)}
    cell = pair()[0].cell
    found = [
        Prediction(
            cell=msgspec.structs.replace(cell, id=HOSTILE, lane=lane), peak_bytes=3 * GIB,
            peak_phase="backward", peak_operator=HOSTILE, phases={}, trained_parameters=7,
            ledger={"policy_weights_bytes": 2 * GIB, "activations_bytes": GIB}, fits=fits,
            demand=demand,
        )
        for lane in (HOSTILE, "out-of-box")
    ]  # fmt: skip
    return [
        *plan_parts(found[0]),
        *plans_parts(found, Prices(currency="EUR", per_hour={"H100-SXM": 2.5})),
    ]


def of_devices():
    identity = {
        "name": HOSTILE, "memory_bytes": 80 * GIB, "form_factor": "SXM", "uuid": HOSTILE,
        "partition": None, "pci_bus_id": None, "driver": HOSTILE, "power_cap_w": 700.0,
    }  # fmt: skip
    device = {
        "key": "0", "chip": None, "identity": identity, "torch": HOSTILE,
        "capabilities": {"energy_scope": "gpu", "power_kind": "instant",
                         "missing": {"ecc_errors": f"{HOSTILE} " * 9}},
        "sample": {"memory_used_bytes": GIB, "power_w": 99.0, "clock_mhz": 1980.0,
                   "temperature_c": 31.0, "throttles": ("idle",)},
    }  # fmt: skip
    library = {"library": "NVML", "reason": None, "remedy": None}
    none = {"library": None, "reason": f"{HOSTILE} " * 9, "remedy": "install it"}
    hung = {"key": HOSTILE, "hung": HOSTILE}
    return device_parts([
        {"accelerator": "cuda", "torch_missing": HOSTILE, "telemetry": library,
         "devices": [device, hung]},
        {"accelerator": "rocm", "torch_missing": "no such device", "telemetry": none,
         "devices": []},
    ])  # fmt: skip


def of_agreement():
    return agreement_parts([*pair(), *pair(device="other")])


OUTPUTS = [of_summary, of_comparison, of_history, of_capacity, of_kernels, of_portability, of_plan,
           of_devices, of_agreement]  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.__name__[3:])
def test_hostile_names_stay_text_within_the_width(output, width):
    found = lines(output(), width)
    assert max(map(cell_len, found)) <= width
    assert all(line.isprintable() for line in found)
    assert not any(line != line.rstrip() for line in found)
    assert SHOWN in "".join("".join(found).split())


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.__name__[3:])
def test_what_is_coloured_says_the_same(output, monkeypatch):
    """Colours come from this project alone: without their codes the text is that of a pipe."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    coloured = [click.unstyle(line).rstrip() for line in lines(output(), styled=True)]
    assert coloured == lines(output())


def test_sizes_are_counted_from_the_first_architecture():
    small = {"a": (3, 192, 1_000_000), "b": (4, 192, 990_000)}
    rows = [
        SizeRow(size="tiny", vocabulary=512, shapes=small),
        SizeRow(size="8b", vocabulary=128256, shapes={"b": (32, 4096, 8_030_000_000)}),
    ]
    assert [line.split() for line in lines(size_parts(rows, ["a", "b"]))] == [
        ["size", "vocabulary", "a", "b", "apart"],
        ["tiny", "512", "3", "x", "192,", "1", "M", "4", "x", "192,", "0.99", "M", "1.0%"],
        ["8b", "128256", "-", "32", "x", "4096,", "8030", "M", "0.0%"],
    ]
