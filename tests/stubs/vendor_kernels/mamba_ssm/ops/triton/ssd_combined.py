from stub_calls import called


def mamba_chunk_scan_combined(
    x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None, initial_states=None,  # noqa: N803
    seq_idx=None, cu_seqlens=None, dt_softplus=False, dt_limit=(0.0, float("inf")),
    return_final_states=False, return_varlen_states=False,
):  # fmt: skip
    called("mamba_chunk_scan_combined")
    states = x.new_zeros(x.shape[0], *x.shape[2:], B.shape[-1])
    return (x * 0, states) if return_final_states else x * 0


def mamba_split_conv1d_scan_combined(
    zxbcdt, conv1d_weight, conv1d_bias, dt_bias, A, D, chunk_size, initial_states=None,  # noqa: N803
    seq_idx=None, dt_limit=(0.0, float("inf")), return_final_states=False, activation="silu",
    rmsnorm_weight=None, rmsnorm_eps=1e-6, outproj_weight=None, outproj_bias=None, headdim=None,
    ngroups=1, norm_before_gate=True,
):  # fmt: skip
    called("mamba_split_conv1d_scan_combined")
    return (zxbcdt[..., : outproj_weight.shape[1]] * 0) @ outproj_weight.mT
