// Adam's bias corrections for the next step, without cancellation: 1 - βᵗ = β (1 - βᵗ⁻¹) + (1 - β).
// hyper[1] and hyper[2] hold them for β₁ and β₂, zero at first. With SCALED = 1 and hyper[3] = 0 the step is left out, see
// loss_scale.wgsl. One invocation.

override SCALED: u32 = 0u;

struct Params {
  beta1: f32,
  one_minus_beta1: f32,
  beta2: f32,
  one_minus_beta2: f32,
}

@group(0) @binding(0) var<storage, read_write> hyper: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  if (SCALED == 1u && hyper[3] == 0.0) {
    return;
  }
  hyper[1] = params.beta1 * hyper[1] + params.one_minus_beta1;
  hyper[2] = params.beta2 * hyper[2] + params.one_minus_beta2;
}
