"""What devices can do at most, by their makers' word, for dense matrices."""

import jax

PEAK_FLOPS = {
    "NVIDIA H100 80GB HBM3": {"float32": 67e12, "tf32": 494.5e12},
    "NVIDIA H100 PCIe": {"float32": 51e12, "tf32": 378e12},
    "NVIDIA H200": {"float32": 67e12, "tf32": 494.5e12},
    "NVIDIA A100-SXM4-40GB": {"float32": 19.5e12, "tf32": 156e12},
    "NVIDIA A100-SXM4-80GB": {"float32": 19.5e12, "tf32": 156e12},
    "NVIDIA A100-PCIE-40GB": {"float32": 19.5e12, "tf32": 156e12},
    "NVIDIA A100 80GB PCIe": {"float32": 19.5e12, "tf32": 156e12},
}


def share_of_peak(flops_per_second, unit, kind=None):
    """The share of the peak of the device at hand, or `None` where the peak is not known."""
    peaks = PEAK_FLOPS.get(jax.devices()[0].device_kind if kind is None else kind, {})
    return flops_per_second / peaks[unit] if unit in peaks else None
