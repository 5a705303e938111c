// All steps of a Langevin chain from each latent x_r [D] in one dispatch (Joseph et al., CVPR 2022, equation 6):
//   x ← clamp(x - ε_t ∂E(x)/∂x + σ_t ξ),   ξ normal
// with ε and σ from Params, or with SCHEDULED = 1 ε_t = schedule[2t], σ_t = schedule[2t + 1].
// One workgroup of 64 per chain, x and the activations in workgroup memory. ξ is what randomNormal draws for shape
// [rows, D], the same seed and stream, and step t. With TRAJECTORY = 1 every x_t goes to trajectory[t, rows, D] and its
// energy to energies[t, rows], the start included.
//!include lib/energy.wgsl
//!include lib/philox.wgsl
//!include lib/nan.wgsl

override SCHEDULED: u32 = 0u;
override NOISE: u32 = 0u;
override CLAMP: u32 = 0u;
override TRAJECTORY: u32 = 0u;

@group(0) @binding(2) var<storage, read> schedule: array<f32>;
@group(0) @binding(3) var<storage, read_write> sampled: array<f32>;
@group(0) @binding(4) var<storage, read_write> trajectory: array<f32>;
@group(0) @binding(5) var<storage, read_write> energies: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn noise(index: u32, step: u32) -> f32 {
  let words = philox(vec4u(index / 4u, step, params.stream, 0u), vec2u(params.seed_low, params.seed_high));
  let pair = select(normal_pair(words.x, words.y), normal_pair(words.z, words.w), (index & 2u) != 0u);
  return select(pair.x, pair.y, (index & 1u) != 0u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let lane = local.x;
  let wanted = group.y * groups.x + group.x;
  let row = min(wanted, params.rows - 1u);
  load_latent(params, row, lane);
  // A trajectory takes one round more, for the energy of the last point.
  for (var t = 0u; t < params.steps + TRAJECTORY; t++) {
    if (TRAJECTORY == 1u && wanted == row) {
      for (var k = lane; k < D; k += THREADS) {
        trajectory[(t * params.rows + row) * D + k] = x[k];
      }
    }
    workgroupBarrier();
    run_layers(params, lane);
    if (TRAJECTORY == 1u) {
      let f = output(params, lane);
      if (lane == 0u && wanted == row) {
        energies[t * params.rows + row] = -f;
      }
      if (t == params.steps) {
        break;
      }
    }
    run_back(params, lane);
    var step_size = params.step_size;
    var sigma = params.noise;
    if (SCHEDULED == 1u) {
      step_size = schedule[2u * t];
      sigma = schedule[2u * t + 1u];
    }
    for (var k = lane; k < D; k += THREADS) {
      var value = fma(step_size, gradient_of_input(params, k), x[k]);
      if (NOISE == 1u) {
        value = fma(sigma, noise(row * D + k, t), value);
      }
      if (CLAMP == 1u) {
        value = smaller(larger(value, params.low), params.high);
      }
      x[k] = value;
    }
    workgroupBarrier();
  }
  if (wanted == row) {
    for (var k = lane; k < D; k += THREADS) {
      sampled[row * D + k] = x[k];
    }
  }
}
