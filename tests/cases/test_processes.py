"""Every start of a process in the tree: none may put the working directory on a Python's path.

A new start fails here until it stands in the table, with what keeps the path safe.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOTS = ("bench", "kernels", "reports", "suites", "examples")
SAFE = {"safe_path", "module_command"}
STARTS = {
    # file -> what it starts, and how many times; "python" ones are checked below
    "bench/alignmeter/accelerators/device_query.py": ("python", 1),
    "bench/alignmeter/accelerators/provenance.py": ("git", 1),
    "bench/alignmeter/cli/compiling.py": ("python", 2),  # the pool, and its first job
    "bench/alignmeter/cli/suite.py": ("python", 1),
    "bench/alignmeter/kernelbench/process.py": ("python", 1),
    "bench/alignmeter/lab/engines/local.py": ("the lab's own command", 2),
    "bench/alignmeter/lab/engines/slurm.py": ("the commands of Slurm", 1),
    "bench/alignmeter/lab/planned.py": ("python", 1),
    "bench/alignmeter/runs/bisect.py": ("the user's command, and python -P for each cell", 1),
    "bench/alignmeter/runs/git.py": ("git", 1),
    "bench/alignmeter/session/launcher.py": ("python", 2),  # the forkserver, and each worker
    "bench/alignmeter/telemetry/sampler.py": ("python", 1),
    "bench/alignmeter/training/engines/compiled.py": ("the compiler", 1),  # of one thread, no pool
    "examples/gpu/facts.py": ("a fork of itself", 1),
    "kernels/alignmeter_kernels/cpp.py": ("the compiler", 2),
    "kernels/alignmeter_kernels/portability.py": ("cuobjdump", 1),
}
OF_MODULES = {
    "subprocess": {"run", "Popen", "call", "check_call", "check_output", "getoutput",
                   "getstatusoutput"},
    "os": {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "execv", "execve",
           "execvp", "execvpe", "execl", "execle", "execlp", "spawnv", "spawnl", "spawnvp"},
    "forkserver": {"ensure_running"},
    "multiprocessing": {"Process", "Pool", "Manager"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "cpp_extension": {"load", "load_inline"},
    "torch": {"compile"},  # inductor's compile workers
    "mp": {"Process", "Pool", "spawn"},
}  # fmt: skip
NAMES = {"ProcessPoolExecutor", "Popen", "check_output", "create_subprocess_exec"}
METHODS = {("_process", "start"), ("pool", "submit")}


def is_start(call):
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in NAMES
    if not isinstance(function, ast.Attribute):
        return False
    value = function.value
    owner = value.id if isinstance(value, ast.Name) else getattr(value, "attr", "")
    return function.attr in OF_MODULES.get(owner, ()) or (owner, function.attr) in METHODS


def calls(node):
    found = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
    return {getattr(f, "id", getattr(f, "attr", "")) for f in found}


def starts(path):
    """Each start with whether a safe path is seen to hold for it."""
    found = []

    def visit(node, safe):
        if isinstance(node, ast.With):
            safe = safe or any(calls(item) & SAFE for item in node.items)
        if isinstance(node, ast.Call) and is_start(node):
            flags = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
            made = calls(node) & SAFE
            found.append(safe or bool(made) or "-P" in flags)
        for child in ast.iter_child_nodes(node):
            visit(child, safe)

    visit(ast.parse(path.read_text()), False)
    return found


def all_starts():
    paths = (p for root in ROOTS for p in (ROOT / root).rglob("*.py"))
    found = {str(p.relative_to(ROOT)): starts(p) for p in paths}
    return {name: safe for name, safe in found.items() if safe}


def test_every_start_of_a_process_stands_in_the_table():
    found = {name: len(safe) for name, safe in all_starts().items()}
    assert found == {name: count for name, (_, count) in STARTS.items()}


def test_no_python_that_is_started_has_the_working_directory_on_its_path():
    for name, safe in all_starts().items():
        if STARTS[name][0] == "python" and name != "bench/alignmeter/kernelbench/process.py":
            assert all(safe), name
    # Its command is made one line above.
    source = (ROOT / "bench/alignmeter/kernelbench/process.py").read_text()
    assert "command = module_command(" in source


def test_a_new_start_would_be_found(tmp_path):
    text = (
        "import subprocess\nsubprocess.run([sys.executable, '-c', 'x'])\n"
        "with safe_path():\n    subprocess.Popen([])\n"
        "context.Process(target=f)\nself._process.start()\nos.fork()\n"
    )
    (tmp_path / "x.py").write_text(text)
    assert starts(tmp_path / "x.py") == [False, True, False, False]
