from stub_calls import called


def selective_state_update(
    state, x, dt, A, B, C, D=None, z=None, dt_bias=None, dt_softplus=False,  # noqa: N803
    state_batch_indices=None, cu_seqlens=None,
):  # fmt: skip
    called("selective_state_update")
    return x * 0
