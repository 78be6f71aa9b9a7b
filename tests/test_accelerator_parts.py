"""What the benchmark for accelerators is made of: draws, verdicts, kernels counted, peaks."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from accelerator_parts import correctness, launches
from accelerator_parts.peaks import share_of_peak
from accelerator_parts.same_draws import same_draws


@pytest.mark.parametrize("name", correctness.exported())
def test_every_exported_estimator_can_be_built(name):
    kind = correctness.exported()[name]
    assert type(correctness.build(kind)) is kind


def test_an_estimator_with_an_unknown_argument_is_no_silent_gap():
    class Newer(unspool.NRES):
        degree: int

        def __init__(self, num_workers, degree):
            pass

    with pytest.raises(ValueError, match="Newer wants degree, which FIELDS has no value for"):
        correctness.build(Newer)


def test_deviations_are_judged_by_those_of_float32():
    exact = np.full((2, 3), 2.0)
    judge = lambda on_cpu, here: correctness.judge(exact, exact * (1 + on_cpu), here, None)
    row = judge(1e-6, exact * (1 + 3e-6))
    assert row["units"] == pytest.approx(3, rel=1e-3) and row["right"]
    assert not judge(1e-6, exact * (1 + 3e-5))["right"]
    assert not judge(0.1, exact * 1.1)["right"]
    assert judge(0, exact)["float32"] == 2.0**-24 and not judge(0, exact * np.nan)["right"]
    default = correctness.judge(exact, exact * (1 + 1e-6), exact, exact * (1 + 1e-3))
    assert default["default_units"] == pytest.approx(1e3, rel=1e-3) and default["right"]


def draws(key, dtype):
    return (
        jax.random.normal(key, (3,), dtype),
        jax.random.uniform(key, (3,)),
        jax.random.rademacher(key, (3,), dtype),
        jax.random.bits(key) % 1000,
        jax.random.randint(key, (3,), 0, jnp.asarray(1000)),
        jax.random.permutation(key, 50),
    )


def test_float64_draws_what_float32_draws(key):
    narrow = draws(key, jnp.float32)
    with jax.enable_x64(True):
        other = jax.jit(draws, static_argnums=1)(key, np.float64)
        with same_draws():
            wide = jax.jit(lambda key: draws(key, jnp.float64))(key)
    assert [x.dtype for x in wide[:3]] == [np.float64] * 3
    assert all(np.array_equal(x, y) for x, y in zip(narrow, wide, strict=True))
    differ = [not np.array_equal(x, y) for x, y in zip(narrow, other, strict=True)]
    assert differ[:2] == [True, True] and any(differ[3:])
    assert np.array_equal(draws(key, jnp.float32)[0], narrow[0])


PROGRAM = """HloModule jit_run, is_scheduled=true

%fused (param_0: f32[4]) -> f32[4] {
  %param_0 = f32[4]{0} parameter(0)
  ROOT %add.9 = f32[4]{0} add(%param_0, %param_0)
}

%step (arg: (s32[], f32[4])) -> (s32[], f32[4]) {
  %arg = (s32[], f32[4]{0}) parameter(0)
  %x = f32[4]{0} get-tuple-element(%arg), index=1
  %product = (f32[4]{0}, s8[128]{0}) custom-call(%x, %x), custom_call_target="__cublas$gemm"
  %copy-start.1 = (f32[4]{0:T(128)}, f32[4]{0}, u32[]) copy-start(%x)
  %copy-done.1 = f32[4]{0} copy-done(%copy-start.1)
  ROOT %out = (s32[], f32[4]{0}) tuple(%x, %copy-done.1)
}

%below (arg.1: (s32[], f32[4])) -> pred[] {
  %arg.1 = (s32[], f32[4]{0}) parameter(0)
  ROOT %less = pred[] fusion(%arg.1), kind=kLoop, calls=%fused
}

%none (arg.2: f32[4]) -> f32[4] {
  ROOT %arg.2 = f32[4]{0} parameter(0)
}

%some (arg.3: f32[4]) -> f32[4] {
  %arg.3 = f32[4]{0} parameter(0)
  ROOT %called = f32[4]{0} call(%arg.3), to_apply=%graph
}

%graph (arg.4: f32[4]) -> f32[4] {
  %arg.4 = f32[4]{0} parameter(0)
  %one = f32[4]{0} fusion(%arg.4), kind=kLoop, calls=%fused
  ROOT %two = f32[4]{0} fusion(%one), kind=kInput, calls=%fused
}

%update (arg.5: (s32[], f32[4])) -> (s32[], f32[4]) {
  %arg.5 = (s32[], f32[4]{0}) parameter(0)
  %loop = (s32[], /*index=1*/f32[4]{0}) while(%arg.5), condition=%below, body=%step, \
backend_config={"known_trip_count":{"n":"10"},"known_init_step":{"init":"0"}}
  %cond = f32[4]{0} conditional(%p, %x, %x), branch_computations={%none, %some}
  ROOT %end = (s32[], f32[4]{0}) tuple(%loop, %cond)
}

ENTRY %main (state: f32[4]) -> f32[4] {
  %state = f32[4]{0} parameter(0)
  %start = f32[4]{0} copy(%state)
  %updates = (s32[], f32[4]{0}) while(%start), condition=%below, body=%update
  ROOT %last = f32[4]{0} get-tuple-element(%updates), index=1
}
"""


def test_kernels_are_counted_in_the_text_of_a_program():
    """Ten times a product, a copy and a condition; two in the longer branch."""
    assert launches.count_launches(PROGRAM) == 10 * 3 + 2
    unknown = PROGRAM.replace('"known_trip_count":{"n":"10"},', "")
    assert launches.count_launches(unknown) is None
    assert launches.count_launches("") is None


def test_shares_are_of_known_peaks_alone():
    assert share_of_peak(6.7e12, "float32", "NVIDIA H100 80GB HBM3") == pytest.approx(0.1)
    assert share_of_peak(6.7e12, "float32", "a newer one") is None
