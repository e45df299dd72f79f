"""Messages as they were reported of each library; none of another kind passes for one of them."""

import errno

import pytest

from alignmeter.worker.out_of_memory import SAID, is_out_of_memory

REPORTED = [
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.15 GiB",
    "HIP out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 191.98 GiB",
    "XPU out of memory. Tried to allocate 1.91 GiB. GPU 0 has a total capacity of 15.91 GiB.",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    "Triton Error [CUDA]: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "miopenStatusAllocFailed",
    "HIP error: hipErrorOutOfMemory",
    "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    "level_zero backend failed with error: 40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
    "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES)",
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory",
    "std::bad_alloc",
]
OTHERS = [
    "out of resource: shared memory, Required: 262144, Hardware limit: 232448",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    "The size of tensor a (3) must match the size of tensor b (4)",
    "HIP error: invalid device function",
]


@pytest.mark.parametrize("text", REPORTED)
def test_each_library_has_its_own_words(text):
    assert is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize("text", OTHERS)
def test_other_failures_are_not_taken_for_it(text):
    assert not is_out_of_memory(RuntimeError(text))


def test_every_row_is_in_lower_case_and_says_whose_words_they_are():
    assert all(part == part.lower() and source for part, source in SAID.items())


def test_what_it_was_raised_from_counts():
    error = ValueError("the graph could not be run")
    error.__cause__ = RuntimeError(REPORTED[0])
    assert is_out_of_memory(error)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert not is_out_of_memory(OSError(errno.ENOSPC, "No space left on device"))
