// running = (1 - m) running + m · (mean, unbiased var) for each channel, from stats[c] = (mean, biased var); with n values
// per channel, unbiased = n / (n - 1). As PyTorch's BatchNorm2d. One invocation per channel.
//!include lib/index.wgsl

struct Params {
  channels: u32,
  momentum: f32,
  unbiased: f32,
}

@group(0) @binding(0) var<storage, read> stats: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> variance: array<f32>;
@group(0) @binding(3) var<storage, read_write> batches: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let c = flat_index(id, groups);
  if (c >= params.channels) {
    return;
  }
  if (c == 0u) {
    batches[0] += 1.0;
  }
  let keep = 1.0 - params.momentum;
  mean[c] = keep * mean[c] + params.momentum * stats[c].x;
  variance[c] = keep * variance[c] + params.momentum * params.unbiased * stats[c].y;
}
