"""Python imports this in every process whose PYTHONPATH has this folder: see ``environment.py``.

Forkserver, spawned workers, samplers and the processes that are asked for devices get it as the
command itself does; with no variable PRETEND it does nothing.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from pathlib import Path


class AfterImport(importlib.abc.MetaPathFinder):
    """Calls something around the import of one module."""

    def __init__(self, module, before=None, after=None):
        self._module, self._before, self._after = module, before, after

    def find_spec(self, name, path=None, target=None):
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        if self._before is not None:
            self._before()
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            if self._after is not None:
                self._after(module)

        spec.loader.exec_module = exec_module
        return spec


class Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """In place of one module: nothing. What it would have registered stays as it was without it."""

    def __init__(self, module):
        self._module = module

    def find_spec(self, name, path=None, target=None):
        if name != self._module:
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        pass


def _load_library():
    """Before `torch._C`: torch looks for a backend's hooks once. Its own libraries come first."""
    import ctypes

    folder = Path(os.environ["PRETEND_TORCH"]) / "lib"
    for name in ("libgomp", "libc10", "libtorch_cpu"):
        for path in sorted(folder.glob(f"{name}*.so*")):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(os.environ["PRETEND_LIBRARY"], mode=ctypes.RTLD_GLOBAL)


def _install(core):
    import ctypes

    import torch_module

    library = ctypes.CDLL(os.environ["PRETEND_LIBRARY"])
    nodes = os.environ.get("PRETEND_NODES", "").split(os.pathsep)
    torch_module.install(core, library, os.environ["PRETEND"], list(filter(None, nodes)))


def _other_nodes(module):
    """Device files in a folder of the test's, where /dev has none of a GPU."""
    folder = Path(os.environ["PRETEND_DEV"])
    module._DEV = folder
    module.device_nodes.__defaults__ = (folder,)


def _other_chip(module):
    """Kernels take the tiles of that chip; Triton's interpreter runs them.

    ``wide``: the interpreter's tiles, but as wide as it is quick with: it pays for each program.
    """
    chip = os.environ["PRETEND_CHIP"]
    module.chip = lambda: "interpreter" if chip == "wide" else chip
    if chip == "wide":
        pick = module.pick
        module.pick = lambda tiles: _widened(module, pick(tiles))


def _widened(module, tile):
    if set(tile.blocks) not in ({"BD"}, {"BD", "BL"}):
        return tile
    return module.Tile(blocks={name: {"BD": 128, "BL": 64}[name] for name in tile.blocks})


def _right_bf16(module):
    import interpreter

    interpreter.install(module)
    if os.environ["PRETEND_CHIP"] == "wide":
        interpreter.quicken(module)


if "PRETEND" in os.environ:
    # The CUDA kernels of bitsandbytes are in a library that nothing here can load: its operators
    # then take their implementations for any device.
    sys.meta_path.insert(0, Empty("bitsandbytes.backends.cuda.ops"))
    sys.meta_path.insert(0, AfterImport("torch._C", before=_load_library, after=_install))
    sys.meta_path.insert(0, AfterImport("alignmeter.telemetry.device_nodes", after=_other_nodes))
    if "PRETEND_CHIP" in os.environ:
        os.environ["TRITON_INTERPRET"] = "1"
        sys.meta_path.insert(0, AfterImport("alignmeter_kernels.launch", after=_other_chip))
        sys.meta_path.insert(0, AfterImport("triton.runtime.interpreter", after=_right_bf16))
