"""What issuing work costs the host, by `runtime.launch`, each figure with its origin and source.

A task is so many operations. In eager mode the host issues every one of them; compiled, they are fused into fewer
kernels; in a CUDA graph the fused kernels are nodes of one launch. The counts are of one token's pass.
"""

from spdsim.machine import OriginKind

Figure = tuple[float, OriginKind, str]
"""Value, origin, source."""

_SPD = "arXiv:2605.30852"

_FUSED: dict[str, Figure] = {
    "attention_ops": (10, "assumed", "4 matrices, 2 norms, rotary, cache write, attention, activation"),
    "gated_delta_ops": (11, "assumed", "4 matrices, 2 norms, convolution, gates, recurrence, gated norm, activation"),
    "moe_ops": (3, "assumed", "choice of experts, permutation, weighted sum"),
    "forward_ops": (2, "assumed", "positions and rotary table of a pass, beside its layers"),
    "draft_ops": (8, "assumed", "projections of features, embedding, norm, head, maximum"),
    "verify_ops": (3, "assumed", "norm, LM head, maximum"),
    "verify_sampling_ops": (10, "assumed", "warping, two distributions, acceptance, residual, draw"),
    "draft_sampling_ops": (4, "assumed", "warping, distribution, draw"),
}

LAUNCH: dict[str, dict[str, Figure]] = {
    "eager": {
        "host_per_op_s": (
            12e-6, "published",
            "arXiv:2605.30571: Qwen2.5-7B on H100 reaches 27 % of its memory floor, 0.59 ms a layer of 48 operations",
        ),
        "host_per_task_s": (50e-6, "assumed", "the interpreter's share of one call of a module"),
        "commit_s": (0.18e-3, "published", f"{_SPD}, cycle profile: driver_update"),
        "attention_ops": (48, "assumed", "counted: projections, two norms of 8, rotary, cache, attention, gated MLP"),
        "gated_delta_ops": (81, "published", f"{_SPD}: 0.873 ms a layer of Qwen3.5-4B, a quarter of them attention"),
        "moe_ops": (30, "assumed", "choice of experts, permutation, weighted sum"),
        "forward_ops": (21, "assumed", "positions, mask and rotary table of a pass, beside its layers"),
        "draft_ops": (118, "published", f"{_SPD}, cycle profile: 1.42 ms of a draft is not in its layers"),
        "verify_ops": (12, "assumed", "norm of 8, LM head, maximum, comparison, copy to the host"),
        "verify_sampling_ops": (95, "published", f"{_SPD}: sampling adds 1.1 to 1.2 ms to a verification"),
        "draft_sampling_ops": (32, "assumed", "a third of those of a verification"),
    },
    "compiled": {
        "host_per_op_s": (6e-6, "assumed", "a launch of 2 to 5 us and the wrapper of the compiled code"),
        "host_per_task_s": (50e-6, "assumed", "guards and dispatch of one call of compiled code"),
        "commit_s": (50e-6, "assumed", "host bookkeeping of two integers"),
        **_FUSED,
    },
    "cuda_graph": {
        "host_per_op_s": (1e-9, "assumed", "about 1 ns a node of a graph"),
        "host_per_task_s": (2.5e-6, "assumed", "launch of a CUDA graph"),
        "commit_s": (10e-6, "assumed", "host bookkeeping of two integers"),
        **_FUSED,
    },
}  # fmt: skip
"""Figures of the host by launch mode; the counts of operations also say how many kernels the device runs."""

GPU_DEFAULTS: dict[str, Figure] = {
    "bandwidth_fraction": (0.8, "assumed", "not known of this GPU"),
    "compute_fraction": (0.5, "assumed", "not known of this GPU"),
    "kernel_latency_s": (3e-6, "assumed", "not known of this GPU"),
    "small_kernel_s": (2e-6, "assumed", "not known of this GPU"),
}
"""Figures of a GPU that does not say them itself."""
