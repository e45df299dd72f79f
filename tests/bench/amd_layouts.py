"""The binding of AMD SMI 27, made of the package of 7.0.2, as PyPI has none of it.

What differs in what this project reads was taken from amdsmi.h of AMD SMI 27.0.0 (ROCm 10.0;
ROCm/rocm-systems, commit c7ad0851), the loader from its packaging.md, what is deprecated from its
CHANGELOG.md. All else is 7.0.2's.
"""

from pathlib import Path

VERSION_27 = "27.0.0+6b0e43"
"""As ROCm's own copies state it: the library's number and a commit."""
LIBRARY_27 = "libamd_smi.so.27"

_FIELDS = {
    "amdsmi_enumeration_info_t": {
        "('hip_uuid', ctypes.c_char * 256)": [
            "('hip_uuid', ctypes.c_char * 256)", "('oam_id', ctypes.c_uint32)",
        ],
    },
    "amdsmi_asic_info_t": {
        "('reserved', ctypes.c_uint32 * 21)": [
            "('PADDING_1', ctypes.c_ubyte * 4)", "('flags', ctypes.c_uint64)",
            "('reserved', ctypes.c_uint32 * 18)",
        ],
    },
    "amdsmi_power_info_t": {
        "('PADDING_0', ctypes.c_ubyte * 4)": ["('ubb_power', ctypes.c_uint32)"],
    },
    "amdsmi_proc_info_t": {
        "('reserved', ctypes.c_uint32 * 11)": [
            "('evicted_time', ctypes.c_uint32)", "('sdma_usage', ctypes.c_uint64)",
            "('reserved', ctypes.c_uint32 * 8)",
        ],
    },
    "amdsmi_gpu_xcp_metrics_t": {
        "('gfx_below_host_limit_total_acc', ctypes.c_uint64 * 8)": [
            "('gfx_below_host_limit_total_acc', ctypes.c_uint64 * 8)",
            "('temperature_xcd', ctypes.c_uint16 * 8)",
        ],
    },
    "amdsmi_gpu_metrics_t": {
        "('gfx_activity_acc', ctypes.c_uint32)": ["('gfx_activity_acc', ctypes.c_uint64)"],
        "('mem_activity_acc', ctypes.c_uint32)": ["('mem_activity_acc', ctypes.c_uint64)"],
        "('pcie_nak_sent_count_acc', ctypes.c_uint32)": [
            "('pcie_nak_sent_count_acc', ctypes.c_uint64)"
        ],
        "('pcie_nak_rcvd_count_acc', ctypes.c_uint32)": [
            "('pcie_nak_rcvd_count_acc', ctypes.c_uint64)"
        ],
        "('pcie_lc_perf_other_end_recovery', ctypes.c_uint32)": [
            "('pcie_lc_perf_other_end_recovery', ctypes.c_uint64)"
        ],
        "('PADDING_5', ctypes.c_ubyte * 4)": [],
        "('xgmi_link_status', ctypes.c_uint16 * 8)": [
            "('xgmi_link_status', ctypes.c_uint16 * 8)",
            "('temperature_hbm_stacks', ctypes.c_uint16 * 12)",
            "('temperature_mid', ctypes.c_uint16 * 2)", "('temperature_aid', ctypes.c_uint16 * 2)",
            "('current_uclk_aid', ctypes.c_uint16 * 2)",
            "('current_socclks_mid', ctypes.c_uint16 * 2)", "('apu_metrics', ctypes.c_void_p)",
        ],
    },
}  # fmt: skip
"""Struct -> field as 7.0.2 has it -> what 27 has in its place."""

_LOADER = '''
class _Missing:
    """In place of a library that cannot be loaded: the import succeeds, calls do not."""

    def __init__(self, error):
        object.__setattr__(self, "error", error)

    def __getattr__(self, name):
        if not name.startswith("amdsmi_"):
            raise AttributeError(name)
        return _Missing(self.error)

    def __setattr__(self, name, value):
        pass

    def __call__(self, *arguments):
        raise OSError(f"the library could not be loaded.\\nUnderlying error: {self.error}")


def _load_library():
    override = os.getenv("AMDSMI_LIB_OVERRIDE")
    if override:
        return ctypes.CDLL(override)
    beside = Path(__file__).resolve().parents[3] / "lib" / "%(library)s"
    return ctypes.CDLL(str(beside) if beside.exists() else "%(library)s")


try:
    _libraries["libamd_smi.so"] = _load_library()
except OSError as error:
    _libraries["libamd_smi.so"] = _Missing(error)

''' % {"library": LIBRARY_27}  # noqa: UP031 - the text has braces of its own

_WARNS = """
    import warnings

    warnings.warn("use the accelerator partition", DeprecationWarning, stacklevel=2)
"""


def as_27(package: Path) -> None:
    """Change that copy of the package in place."""
    wrapper, interface = package / "amdsmi_wrapper.py", package / "amdsmi_interface.py"
    text = wrapper.read_text()
    begin, end = text.index("def find_smi_library():"), text.index("#Add support for amdsmi_free")
    text = text[:begin] + _LOADER + text[end:]
    for struct, fields in _FIELDS.items():
        begin = text.index(f"struct_{struct}._fields_ = [")
        end = text.index("\n]", begin)
        block = text[begin:end]
        for old, new in fields.items():
            assert block.count(old + ",") == 1, (struct, old)
            block = block.replace(old + ",", "".join(f"{field},\n    " for field in new))
        text = text[:begin] + block + text[end:]
    wrapper.write_text(text)
    head = "def amdsmi_get_gpu_compute_partition(processor_handle: processor_handle):\n"
    text = interface.read_text()
    assert text.count(head) == 1
    interface.write_text(text.replace(head, head + _WARNS))
    (package / "_version.py").write_text(f'__version__ = "{VERSION_27}"\n')
