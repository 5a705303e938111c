// y = (x - mean_c) · r_c · w_c + b_c [+ residual], with RELU = 1 at least 0; x, residual, y [n, c, plane], dense.
// r = 1 / √(var + ε). Mean and variance of channel c are at their offsets + c · stride: in two arrays, or alternating
// in one. Workgroup (i, c, n) has 64 elements of one plane. (Ioffe and Szegedy, ICML 2015; the sum with
// the residual: He et al., CVPR 2016.)
//!include lib/nan.wgsl

// Storage type of images and their gradients: f32, or f16 with f32 arithmetic. Statistics and parameters are f32.
alias Real = f32;

override RELU: u32 = 0u;
override RESIDUAL: u32 = 0u;

struct Params {
  plane: u32,
  channels: u32,
  offset_x: u32,
  offset_residual: u32,
  offset_weight: u32,
  offset_bias: u32,
  offset_mean: u32,
  offset_variance: u32,
  stride: u32,
  epsilon: f32,
  // First workgroup of this dispatch: the engine splits one that has more than a device takes.
  origin: vec3u,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> means: array<f32>;
@group(0) @binding(4) var<storage, read> variances: array<f32>;
// Not read unless RESIDUAL = 1.
@group(0) @binding(5) var<storage, read> residual: array<Real>;
@group(0) @binding(6) var<storage, read_write> y: array<Real>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = id + params.origin;
  let i = group.x * 64u + local.x;
  if (i >= params.plane) {
    return;
  }
  let c = group.y;
  let mean = means[params.offset_mean + c * params.stride];
  let inverse = 1.0 / sqrt(variances[params.offset_variance + c * params.stride] + params.epsilon);
  let scale = inverse * weight[params.offset_weight + c];
  let at = (group.z * params.channels + c) * params.plane + i;
  var value = (f32(x[params.offset_x + at]) - mean) * scale + bias[params.offset_bias + c];
  if (RESIDUAL == 1u) {
    value += f32(residual[params.offset_residual + at]);
  }
  if (RELU == 1u) {
    value = relu(value);
  }
  y[at] = Real(value);
}
