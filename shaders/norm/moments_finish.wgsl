// Second half of the statistics of a batch, from the shifted sums of moments.wgsl: stats[c] = (mean, var), var biased.
// A channel whose squares overflow f32 gets NaN, which is then reported as not finite: an infinite variance would make
// every y = bias. One invocation per channel.
//!include lib/index.wgsl
//!include lib/nan.wgsl

// Storage type of images and their gradients: f32, or f16 with f32 arithmetic. Statistics and parameters are f32.
alias Real = f32;

struct Params {
  offset: u32,
  channels: u32,
  plane: u32,
  parts: u32,
  count: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read> partial: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> stats: array<vec2f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let c = flat_index(id, groups);
  if (c >= params.channels) {
    return;
  }
  var sums = vec2f();
  for (var p = 0u; p < params.parts; p++) {
    sums += partial[c * params.parts + p];
  }
  let shifted = sums.x / params.count;
  let mean = f32(x[params.offset + c * params.plane]) + shifted;
  let variance = sums.y / params.count - shifted * shifted;
  stats[c] = vec2f(mean, select(special(NAN_BITS, c), max(variance, 0.0), is_finite(variance)));
}
