from alignmeter_kernels.closeness import assert_close_to_float64, gradients_of  # noqa: F401
