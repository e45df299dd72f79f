"""By which words a failure is one of memory: allocators, drivers and libraries each have their own.

A library that found no memory for its workspace raises an error of its own kind; as a crash it
would be blamed on the cell's code.
"""

__all__ = ["SAID", "is_out_of_memory"]

import errno

SAID: dict[str, str] = {
    "out of memory": "torch's caching allocators (CUDA, HIP, XPU) and cudaErrorMemoryAllocation: "
    "c10/cuda/CUDACachingAllocator.cpp, c10/xpu/XPUCachingAllocator.cpp, cudaGetErrorString",
    "can't allocate memory": "torch's CPU allocator on Linux: c10/core/impl/alloc_cpu.cpp",
    "not enough memory": "the same elsewhere",
    "cublas_status_alloc_failed": "cuBLAS: ATen/cuda/Exceptions.cpp",
    "cusolver_status_alloc_failed": "cuSOLVER: the same",
    "cusparse_status_insufficient_resources": "cuSPARSE: the same",
    "cudnn_status_alloc_failed": "cuDNN 8: cudnn_graph.h",
    "allocation_failed": "cuDNN 9, CUDNN_STATUS_INTERNAL_ERROR_{DEVICE,HOST}_ALLOCATION_FAILED: "
    "the same",
    "hipblas_status_alloc_failed": "hipBLAS and hipBLASLt: hipblas-common.h",
    "rocblas_status_memory_error": "rocBLAS: rocblas-types.h",
    "miopenstatusallocfailed": "MIOpen: miopen.h",
    "hiperroroutofmemory": "HIP: hip_runtime_api.h",
    "ur_result_error_out_of_device_memory": "Intel's Unified Runtime below SYCL: ur_api.h",
    "ur_result_error_out_of_host_memory": "the same",
    "ur_result_error_out_of_resources": "the same, for allocations that the driver cannot back",
    "pi_error_out_of_resources": "its predecessor: sycl/detail/pi.h",
    "ze_result_error_out_of_device_memory": "Level Zero: ze_api.h",
    "ze_result_error_out_of_host_memory": "the same",
    "std::bad_alloc": "the C++ library, by way of torch's bindings",
}
"""Part of a message, in lower case -> who says it, and where that is written."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it, or what it was raised from, is one of memory."""
    seen: BaseException | None = error
    while seen is not None:
        text = f"{type(seen).__name__}: {seen}".lower()
        if isinstance(seen, MemoryError) or any(part in text for part in SAID):
            return True
        if isinstance(seen, OSError) and seen.errno == errno.ENOMEM:
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False
