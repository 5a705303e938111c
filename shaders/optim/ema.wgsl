// average[i] = decay · average[i] + (1 - decay) · p[i], i < n; not with SCALED = 1 and hyper[3] = 0, see
// loss_scale.wgsl. One invocation per element.
//!include lib/index.wgsl

override SCALED: u32 = 0u;

struct Params {
  n: u32,
  decay: f32,
  one_minus_decay: f32,
}

@group(0) @binding(0) var<storage, read_write> average: array<f32>;
@group(0) @binding(1) var<storage, read> p: array<f32>;
// Not read unless SCALED = 1.
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (SCALED == 1u && hyper[3] == 0.0) {
    return;
  }
  if (i < params.n) {
    average[i] = params.decay * average[i] + params.one_minus_decay * p[i];
  }
}
