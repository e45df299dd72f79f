"""`alignmeter kernels`: a real run on a small selection, its gates, and its file."""

import contextlib
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import msgspec
import psutil
import pytest
from click.testing import CliRunner
from made_portability import make_row, make_table

from alignmeter.cli import cli, compiling, main
from alignmeter.errors import InputError
from alignmeter.records.folder import load_folders
from alignmeter.records.portability import decode_portability, encode_portability
from alignmeter_kernels import KERNELS, portability
from alignmeter_kernels.chips import CHIPS

DOCS = Path(__file__).parents[3] / "docs" / "kernels.md"
DASH = "\N{EN DASH}"
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="pip install triton")


def kernels(*arguments, cwd, **environment):
    return subprocess.run(
        [Path(sys.executable).parent / "alignmeter", "kernels", *arguments],
        capture_output=True, text=True, cwd=cwd, check=False, timeout=280,
        env={**os.environ, **environment},
    )  # fmt: skip


@needs_triton
@pytest.mark.exhaustive
def test_a_small_selection_compiles_even_where_the_interpreter_is_asked_for(tmp_path):
    done = kernels(
        "--kernels", "linear_logprob", "--targets", "sm_100,gfx942", "--dtypes", "bfloat16",
        "--json", "--out", "new/kernels.json",
        cwd=tmp_path, TRITON_INTERPRET="1", TRITON_CACHE_DIR=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0
    stored = (tmp_path / "new" / "kernels.json").read_bytes()
    assert stored.decode() == done.stdout
    table = decode_portability(stored, "stored")
    assert {row.chip for row in table.rows} == {"sm_100", "gfx942"}
    assert {row.function for row in table.rows} == {"partial_softmax", "slopes"}
    for row in table.rows:
        assert row.registers in range(16, 513)
        assert row.spills == 0
        assert row.occupancy % row.warps == 0
        assert row.matrix.startswith("tcgen05.mma" if row.chip == "sm_100" else "v_mfma_")
        assert row.blocks["BT"] % 16 == 0
    assert load_folders([tmp_path / "new"]).portability == [table]


@pytest.mark.full
@needs_triton
@pytest.mark.parametrize(
    "loaded", [pytest.param("python", marks=pytest.mark.exhaustive), "libtriton"]
)
def test_compilers_go_with_a_command_that_is_killed(tmp_path, loaded):
    """Whether they begin or are at work. Nobody would ever tell them that they may go."""
    process = subprocess.Popen(
        [Path(sys.executable).parent / "alignmeter", "kernels", "--json"],
        cwd=tmp_path, env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "cache")},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        children = compilers(process, loaded)
    finally:
        process.kill()
        process.wait(20)
    _, alive = psutil.wait_procs(children, timeout=30)
    for child in alive:
        child.kill()
    assert alive == []


def compilers(process, loaded):
    """All children of the command, once its compile processes have loaded a library."""
    wanted = min(2, len(os.sched_getaffinity(0)))
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        children = psutil.Process(process.pid).children(recursive=True)
        with contextlib.suppress(OSError, psutil.Error):
            at_work = [
                child
                for child in children
                if "spawn_main" in " ".join(child.cmdline())
                and loaded in Path(f"/proc/{child.pid}/maps").read_text()
            ]
            if len(at_work) == wanted:
                return children
        time.sleep(0.01)
    pytest.fail("no compile processes within 100 s")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--targets", "sm_90,H100"], f"'H100' is not one of them; known: {', '.join(CHIPS)}"),
        (["--kernels", "matmul"], "--kernels: 'matmul' is not one of them; known: linear_logprob"),
        (["--kernels", "token_logprob"], "--kernels: 'token_logprob' is not one of them; known:"),
        (["--dtypes", ""], "--dtypes: '' is not one of them; known: bfloat16, float16, float32"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_an_unknown_name_is_one_sentence_that_lists_the_known_ones(arguments, words):
    with pytest.raises(InputError) as caught:
        cli.main(["kernels", *arguments], standalone_mode=False)
    assert words in str(caught.value)


def test_an_unknown_name_is_exit_status_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["alignmeter", "kernels", "--targets", "H100"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith("Error: --targets: 'H100' is not one of them; known: sm_80")
    assert said.out == ""


def test_without_triton_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(portability, "find_spec", lambda *_: None)
    with pytest.raises(InputError, match="Triton is not installed; pip install triton"):
        cli.main(["kernels"], standalone_mode=False)


@pytest.fixture
def command_of(monkeypatch):
    """The command, with these rows as what was compiled."""

    def run(*rows, arguments=()):
        monkeypatch.setattr(portability, "missing", lambda: None)
        monkeypatch.setattr(portability, "triton_version", lambda: "3.9.0")
        monkeypatch.setattr(compiling, "compile_jobs", lambda *_: list(rows))
        return CliRunner().invoke(cli, ["kernels", *arguments])

    return run


def test_what_holds_is_exit_status_0_and_readable_at_80_columns(command_of):
    longest = make_row(
        function="states", chip="gfx1100", example="RX 7900 XTX", data_centre=False, warps=16,
        registers=256, spills=1234, shared_bytes=65536, occupancy=64, occupancy_unit="waves/WGP",
        matrix="v_mfma_f32_16x16x16bf16_1k",
    )  # fmt: skip
    result = command_of(make_row(), longest, make_row(chip="sm_80", spills=0))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [" ".join(line.split()) for line in lines if line.startswith(("sm_90", "gfx"))] == [
        "sm_90 8 110 0 96 KiB 16 warps/SM wgmma.mma_async",
        "gfx1100 16 256 1234 64 KiB 64 waves/WGP v_mfma_f32_16x16x16bf16_1k",
    ]
    titles = [line for line in lines if line.startswith("linear_logprob:")]
    assert titles == [
        "linear_logprob: slopes, bfloat16, llama-3-8b",
        "linear_logprob: states, bfloat16, llama-3-8b",
    ]
    assert (
        "2 functions x 3 chips: all compile, no spills on the data-centre chips, matrix products "
        "on the matrix unit"
    ) in " ".join(result.stdout.split())
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("changes", "sentence", "cell"),
    [
        ({"spills": 8}, "spills 8 bytes on sm_90", " 8 "),
        ({"spills": 3, "chip": "gfx942"}, "spills 3 registers on gfx942", " 3 "),
        ({"spills": None}, "compiles for sm_90, but its spills could not be read", DASH),
        ({"matrix": None}, "does not use the matrix unit of sm_90", "none"),
        ({"error": "[red]no[/red]"}, "does not compile for sm_90: [red]no[/red]", "see below"),
    ],
    ids=["nvidia spills", "amd spills", "spills unknown", "no matrix unit", "does not compile"],
)
def test_what_does_not_hold_is_exit_status_1_and_named(command_of, changes, sentence, cell):
    result = command_of(make_row(), make_row(**changes))
    assert result.exit_code == 1
    assert result.stderr == f"Failed: linear_logprob: slopes (bfloat16) {sentence}\n"
    assert cell in result.stdout
    assert "1 of 2 compilations fail" in result.stdout


def test_a_gate_fails_with_json_too_and_the_json_is_whole(command_of):
    result = command_of(make_row(matrix=None), arguments=["--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["rows"][0]["matrix"] is None
    assert "does not use the matrix unit" in result.stderr


def test_chips_of_desks_may_spill_and_fp32_needs_no_matrix_unit(command_of):
    desk = make_row(chip="sm_120", data_centre=False, spills=12)
    wide = make_row(
        dtype="float32", chip="sm_120", data_centre=False, matrix=None, wants_matrix=False
    )
    result = command_of(desk, wide)
    assert result.exit_code == 0
    assert "1 function x 1 chip: all compile, matrix products on the matrix unit" in result.stdout


def test_fp32_must_not_round_to_tf32(command_of):
    """What Triton 3.6 made of one product for sm_100, though it was asked for IEEE precision."""
    wide = make_row(dtype="float32", wants_matrix=False, matrix="tcgen05.mma")
    result = command_of(wide)
    assert result.exit_code == 1
    assert "multiplies fp32 on the matrix unit of sm_90, which rounds to TF32" in result.stderr
    cdna = make_row(dtype="float32", wants_matrix=False, chip="gfx942", matrix="v_mfma_f32")
    assert command_of(cdna).exit_code == 0


def test_the_file_is_what_was_printed(command_of, tmp_path):
    result = command_of(make_row(), arguments=["--out", str(tmp_path / "a" / "kernels.json")])
    assert f"JSON  {tmp_path / 'a' / 'kernels.json'}" in result.stdout.replace("\n", "")
    (table,) = load_folders([tmp_path]).portability
    assert table.rows == [make_row()]


@pytest.mark.full
def test_a_process_that_dies_is_a_row_and_the_others_still_count(tmp_path, monkeypatch):
    (tmp_path / "dies.py").write_text("import os; os._exit(9)")
    (tmp_path / "lives.py").write_text(
        "from alignmeter_kernels.kernel import Kernel\n"
        "KERNEL = Kernel(name='lives', operator=min, reference=min, check=None)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    jobs = [
        compiling.Job(kernel=name, package=name, chip="gfx942", dtype="bfloat16")
        for name in ("lives", "dies", "lives")
    ]
    (row,) = compiling.compile_jobs(jobs, lambda: None)
    assert (row.kernel, row.chip, row.data_centre) == ("dies", "gfx942", True)
    assert row.error == "the process that compiled it died"


def test_a_table_is_the_same_after_storing():
    table = make_table(make_row(), make_row(registers=None, error="no"))
    assert decode_portability(encode_portability(table), "x") == table


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{}", "schema_version is None; this version reads 1"),
        (b'{"schema_version": 2}', "schema_version is 2; this version reads 1"),
        (b"[1", "not a table of `alignmeter kernels`"),
        (b"\xff", "not a table of `alignmeter kernels`"),
        (b"[" * 10**5, "not a table of `alignmeter kernels`"),
        (b'{"schema_version": 1, "triton": "", "alignmeter": ""}', "missing required field `rows`"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_is_named(data, words):
    with pytest.raises(InputError) as caught:
        decode_portability(data, "dir/kernels.json")
    assert str(caught.value).startswith("dir/kernels.json: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("spills", -1), ("registers", 2**64), ("chip", 90), ("speed", 1)]
)
def test_a_row_that_cannot_be_is_refused(field, value):
    table = msgspec.json.decode(encode_portability(make_table(make_row())))
    table["rows"][0][field] = value
    with pytest.raises(InputError, match=r"\$\.rows\[(0|\.\.\.)\]"):
        decode_portability(json.dumps(table).encode(), "x")


def test_every_kernel_chip_and_field_is_documented():
    text = DOCS.read_text()
    for name in (*KERNELS, *CHIPS, *make_row().__struct_fields__):
        assert f"`{name}`" in text, name
