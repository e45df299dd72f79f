"""The house: folders, the wheel, registries, docs and sizes of files."""

import ast
import re
import subprocess
import sys
import zipfile
from importlib import import_module, resources
from pathlib import Path

import pytest

from alignmeter.cells.axes import AXES
from alignmeter.cells.matrix import packaged_names, read_matrix
from alignmeter.registry import (
    ACCELERATORS,
    ARCHITECTURES,
    LOSS_HEADS,
    METHODS,
    OPTIMIZERS,
    PEFT_MODES,
    PRECISIONS,
    ROLLOUTS,
    default_name,
    load,
)

ROOT = Path(__file__).parents[1]
PACKAGES = {"bench": "alignmeter", "kernels": "alignmeter_kernels", "reports": "alignmeter_reports"}
SOURCES = sorted(p for folder in PACKAGES for p in (ROOT / folder).rglob("*.py"))


def test_each_source_root_holds_exactly_its_package():
    for folder, package in PACKAGES.items():
        found = {p.name for p in (ROOT / folder).iterdir() if p.name != "__pycache__"}
        assert found - {"README.md"} == {package}


@pytest.mark.full
def test_the_wheel_holds_exactly_the_three_packages(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", tmp_path, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == set(PACKAGES.values())
    for needed in (
        "alignmeter/py.typed",
        "alignmeter/suites/bench_alignment.py",
        "alignmeter/cells/matrices/quick.toml",
        "alignmeter/batches/preferences.jsonl",
        "alignmeter/records/references.json",
        "alignmeter_reports/page.html.j2",
        "alignmeter_kernels/cpu.h",
        "alignmeter_kernels/selective_scan/scan.cpp",
    ):
        assert needed in names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 300
    assert path.stem not in {"utils", "common", "helpers"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 50, node.name


@pytest.mark.parametrize(
    "registry",
    [ACCELERATORS, ARCHITECTURES, LOSS_HEADS, METHODS, OPTIMIZERS, PEFT_MODES, ROLLOUTS],
)
def test_every_row_loads_and_knows_its_name(registry):
    for name in registry:
        assert load(registry, name).name == name


NAMES_ACCELERATORS = (
    "bench/alignmeter/accelerators/",
    "bench/alignmeter/telemetry/",
    "bench/alignmeter/registry/__init__.py",
)


def test_accelerators_are_named_in_their_own_files_only():
    """Everyone else asks the row; the CPU is not meant, for torch and the reference are there."""
    names = set(ACCELERATORS) - {"cpu"}
    for path in SOURCES:
        place = str(path.relative_to(ROOT))
        if place.startswith((*NAMES_ACCELERATORS, "kernels/")):  # Triton's backends are called so
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant):
                assert node.value not in names, f"{place}, line {node.lineno}"


def test_devices_are_asked_through_their_accelerator():
    """torch's word for a device is not its accelerator's: ROCm's devices are cuda there."""
    for path in SOURCES:
        place = str(path.relative_to(ROOT))
        if not place.startswith("bench/") or place.startswith("bench/alignmeter/accelerators/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr != "get_device_module", f"{place}, line {node.lineno}"
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.device":
                given = node.args[0]
                fixed = isinstance(given, ast.Constant) and given.value in {"cpu", "meta"}
                assert fixed, f"{place}, line {node.lineno}"


def test_methods_never_import_each_other():
    modules = {row.path.partition(":")[0] for row in METHODS.values()}
    for module in modules:
        path = ROOT / "bench" / (module.replace(".", "/") + ".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in modules - {module}, path.name


@pytest.mark.parametrize("package", PACKAGES.values())
def test_exported_names_exist(package):
    for path in sorted(Path(next(iter(import_module(package).__path__))).rglob("*.py")):
        if path.stem == "preload":
            continue
        parts = path.relative_to(ROOT / {v: k for k, v in PACKAGES.items()}[package])
        module = import_module(".".join(parts.with_suffix("").parts).removesuffix(".__init__"))
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{module.__name__}.{name}"


def test_importing_the_package_loads_nothing_heavy():
    """The command line answers --help without torch."""
    code = (
        "import sys, alignmeter.cli, alignmeter.plugin.hooks,  alignmeter_reports; "
        "print(sorted({'torch', 'transformers', 'amdsmi', 'pynvml', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_packaged_matrices_parse():
    for name in packaged_names():
        assert read_matrix(name).grids


def test_suites_name_a_packaged_matrix():
    for path in sorted((ROOT / "suites").glob("bench_*.py")):
        if path.stem in ("bench_kernels",):  # kernels and clocks, not cells
            continue
        (name,) = re.findall(r'^MATRIX = "(.+)"$', path.read_text(), re.MULTILINE)
        assert name in packaged_names()


def test_every_axis_is_documented():
    text = (ROOT / "docs" / "axes.md").read_text()
    for axis in AXES.values():
        assert f"`{axis.name}`" in text
        for choice in axis.choices:
            assert f"`{choice}`" in text, f"{axis.name} {choice}"


def test_every_reason_code_is_documented():
    """If this fails: python -m alignmeter.records.reasons_page > docs/reasons.md"""
    done = subprocess.run(
        [sys.executable, "-m", "alignmeter.records.reasons_page"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "docs" / "reasons.md").read_text() == done.stdout
    assert "(reasons.md)" in (ROOT / "docs" / "records.md").read_text()


def test_every_record_field_is_documented():
    from alignmeter.records import record

    text = (ROOT / "docs" / "records.md").read_text()
    for name in (
        "Record",
        "Timing",
        "Memory",
        "Energy",
        "Telemetry",
        "Throughput",
        "Numerics",
        "Provenance",
        "Rank",
        "Communication",
    ):
        for field in getattr(record, name).__struct_fields__:
            assert f"`{field}`" in text, f"{name}.{field}"
    for owner in record.OWNERS:
        assert f"`{owner}_bytes`" in text


def test_no_file_names_a_place_on_somebodys_machine():
    for path in [*SOURCES, ROOT / "README.md", ROOT / "tox.ini", ROOT / "pyproject.toml"]:
        assert not re.search(r"/(root|home)/\w", path.read_text())


def test_data_is_package_data():
    assert (resources.files("alignmeter.batches") / "preferences.jsonl").is_file()


def literals(path):
    """(line, text) of every string in the code: not of docstrings, nor of those below a name."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


REGISTRY = "bench/alignmeter/registry/__init__.py"
NAMED_IN = {
    "methods": (METHODS, "bench/alignmeter/methods/"),
    "architectures": (ARCHITECTURES, "bench/alignmeter/architectures/"),
    "PEFT modes": (PEFT_MODES, "bench/alignmeter/peft/"),
    "precisions": (PRECISIONS, "bench/alignmeter/architectures/precision.py"),
}
"""What is named, and where beside the registry."""


@pytest.mark.parametrize("what", NAMED_IN)
def test_nobody_else_asks_for_a_name(what):
    """Facts live on the row: a new entry is a file and a row, and no comparison misses it.

    ``ppo_`` counts as ``ppo``: a prefix that is looked for.
    """
    rows, place = NAMED_IN[what]
    found = []
    for path in SOURCES:
        where = path.relative_to(ROOT).as_posix()
        if where.startswith("bench/") and not where.startswith((place, REGISTRY)):
            found += [(where, *hit) for hit in literals(path) if hit[1].strip("_- ") in rows]
    assert found == []


@pytest.mark.parametrize("rows", [METHODS, ARCHITECTURES, PEFT_MODES])
def test_exactly_one_row_is_the_default(rows):
    assert rows[default_name(rows)].default


def test_rows_of_methods_and_modes_name_axes():
    for row in (*METHODS.values(), *PEFT_MODES.values()):
        assert set(row.axes) <= set(AXES)
    for row in METHODS.values():
        assert set(row.layout) <= set(row.axes)


PRIVATE_NAMES_OF = {
    "bench/alignmeter/worker/memory/torch_internals.py": "torch",
    "bench/alignmeter/architectures/transformers_internals.py": "transformers",
    "bench/alignmeter/peft/tuner_layers.py": "peft",
    "bench/alignmeter/session/fork_server.py": "multiprocessing",
    "bench/alignmeter/kernelbench/baselines.py": "TRL, whose chunks its baseline takes",
    "kernels/alignmeter_kernels/planning.py": "torch's custom operators",
}
"""The one module that takes the private names of a library; each has a canary test."""


def private_names(path):
    """Names with a leading underscore that are taken of another module's things."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            names, owner = [node.attr], node.value
            if isinstance(owner, ast.Name) and owner.id in ("self", "cls"):
                continue
            if node.attr in ("_make", "_replace"):  # named tuples', which Python documents
                continue
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        else:
            continue
        yield from (name for name in names if re.fullmatch(r"_[a-zA-Z]\w*[a-zA-Z0-9]", name))


def test_private_names_of_a_library_stand_in_one_module():
    takers = {p.relative_to(ROOT).as_posix() for p in SOURCES if [*private_names(p)]}
    assert takers == set(PRIVATE_NAMES_OF)


def test_no_product_is_made_of_mocks():
    for path in SOURCES:
        assert "unittest" not in path.read_text(), path


def test_packed_data_in_tests_hold_no_time_of_day():
    """Names of parametrized tests hold their data, and each worker of xdist makes its own."""
    of_now = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "gzip.compress"
        and "mtime" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not of_now
