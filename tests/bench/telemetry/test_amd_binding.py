"""Which copy of AMD's Python package is loaded, and when none is."""

import json
import shutil
import subprocess
import sys

import pytest
from amd_stub import (
    MI300X,
    forget_amdsmi,
    package_version,
    ship_binding,
    why_not,
)
from stub_libraries import build_library

from alignmeter.telemetry.amd import binding as amd_binding

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def run(code):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


ELSEWHERE = """
import json, sys
from pathlib import Path
from alignmeter.telemetry import open_telemetry
from alignmeter.telemetry.amd import binding as amd_binding
amd_binding.KFD, amd_binding.OPT = Path({kfd!r}), Path({opt!r})
found = open_telemetry("rocm").probe()
print(json.dumps([found.available, found.reason, found.remedy,
                  [name for name in sys.modules if name.startswith("amdsmi")]]))
"""


def test_a_binding_of_another_release_is_refused_and_dropped(machine, rocm, tmp_path, monkeypatch):
    older = shutil.copytree(rocm, tmp_path / "older")
    (older / ".info" / "version").write_text("6.4.1-83\n")
    monkeypatch.setenv("ROCM_PATH", str(older))
    found = machine.open(MI300X).probe()
    assert found.available is False
    assert f"amdsmi {package_version()} does not fit ROCm 6.4.1-83" in found.reason
    assert "pip install 'amdsmi==6.4.*'" in found.remedy
    assert not [name for name in sys.modules if name.startswith("amdsmi")]


def test_a_library_without_a_symbol_names_both_releases(machine, tmp_path, monkeypatch):
    """The package cannot even be imported: AttributeError at the first of its symbols."""
    (tmp_path / "empty.c").write_text("int nothing;\n")
    build_library(tmp_path / "lib" / "libamd_smi.so.25.5.60401", tmp_path / "empty.c")
    (tmp_path / "lib" / "libamd_smi.so").symlink_to("libamd_smi.so.25.5.60401")
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    code = (
        "from alignmeter.telemetry.amd.smi import open_amd; import sys; p = open_amd(1).probe(); "
        "print(p.reason, p.remedy, [m for m in sys.modules if m.startswith('amdsmi')], sep='|')"
    )
    reason, remedy, modules = run(code).split("|")
    # The library's name tells the ROCm, too.
    assert f"amdsmi {package_version()} does not fit ROCm 6.4.1 / AMD SMI 25.5.60401" in reason
    assert "pip install" in remedy
    assert modules == "[]"


def test_a_library_s_own_number_may_agree_too(machine, rocm, tmp_path, monkeypatch):
    """ROCm's own bindings state the library's number, 26.0, where PyPI's state ROCm's, 7.0."""
    elsewhere = tmp_path / "usr"
    (elsewhere / "lib").mkdir(parents=True)
    shutil.copy(rocm / "lib" / "libamd_smi.so", elsewhere / "lib" / "libamd_smi.so.26.0.2")
    (elsewhere / "lib" / "libamd_smi.so").symlink_to("libamd_smi.so.26.0.2")
    monkeypatch.setenv("ROCM_PATH", str(elsewhere))
    for version, fits in (("26.0.2+39589fda", True), ("26.2.0", False)):
        bindings = tmp_path / version
        package = ship_binding(bindings, version)
        monkeypatch.setattr(amd_binding, "_packages", lambda *_, package=package: [package])
        telemetry = machine.open(MI300X)
        assert telemetry.probe().available is fits
        if fits:
            telemetry.close()
            machine.opened.clear()
        forget_amdsmi()


def test_nothing_to_compare_with_is_not_trusted(machine, rocm, tmp_path, monkeypatch):
    bare = shutil.copytree(rocm, tmp_path / "bare")
    shutil.rmtree(bare / ".info")
    monkeypatch.setenv("ROCM_PATH", str(bare))
    found = machine.open(MI300X).probe()
    assert "cannot be checked" in found.reason
    assert ".info/version" in found.remedy


def test_rocm_s_own_binding_comes_before_the_interpreter_s(machine, rocm, tmp_path, monkeypatch):
    tree = shutil.copytree(rocm, tmp_path / "with-binding")
    package = ship_binding(tree, "26.0.2+39589fda")
    monkeypatch.setenv("ROCM_PATH", str(tree))
    telemetry = machine.open(MI300X)
    assert telemetry.probe().available
    assert sys.modules["amdsmi"].__file__ == str(package / "__init__.py")
    assert str(tree / "share" / "amd_smi") not in sys.path


def test_a_broken_binding_of_rocm_does_not_hide_the_interpreter_s(
    machine, rocm, tmp_path, monkeypatch
):
    tree = shutil.copytree(rocm, tmp_path / "broken")
    package = ship_binding(tree, "7.0.2")
    (package / "amdsmi_wrapper.py").write_text("raise KeyError('libamd_smi.so')\n")
    monkeypatch.setenv("ROCM_PATH", str(tree))
    assert machine.open(MI300X).probe().available
    assert sys.modules["amdsmi"].__file__ != str(package / "__init__.py")


def test_a_binding_that_somebody_has_imported_is_used(machine):
    import amdsmi

    assert machine.open(MI300X).probe().available
    assert sys.modules["amdsmi"] is amdsmi


def test_rocm_without_a_binding(machine, monkeypatch):
    monkeypatch.setattr(amd_binding, "_packages", lambda *_: [])
    found = machine.open(MI300X).probe()
    assert (found.available, found.reason) == (False, "no Python package amdsmi")
    assert "pip install" in found.remedy


def test_a_machine_without_rocm_imports_and_prints_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("ROCM_HOME", raising=False)
    monkeypatch.delenv("ROCM_PATH", raising=False)
    printed = run(ELSEWHERE.format(kfd=str(tmp_path / "kfd"), opt=str(tmp_path)))
    available, reason, remedy, modules = json.loads(printed)  # one line: nobody else printed
    assert (available, modules) == (False, [])
    assert "no AMD GPU and no ROCm here" in reason
    assert "ROCM_PATH" in remedy


def test_a_package_without_its_library_says_what_it_looked_for(tmp_path, monkeypatch):
    """AMD's package prints two lines and raises KeyError."""
    monkeypatch.delenv("ROCM_HOME", raising=False)
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    (tmp_path / "kfd").touch()
    printed = run(ELSEWHERE.format(kfd=str(tmp_path / "kfd"), opt=str(tmp_path)))
    available, reason, remedy, modules = json.loads(printed)
    assert (available, modules) == (False, [])
    assert "libamd_smi.so: cannot open shared object file" in reason
    assert "amd-smi-lib" in remedy
