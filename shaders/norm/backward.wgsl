// Second half of the backward pass of a batch normalisation, with h and x̂ of backward_sums.wgsl:
//   dx = w r (h - (Σ h + x̂ Σ h x̂) / count),  and with RESIDUAL = 1 the gradient of the residual: dresidual = h.
// Workgroup (i, c, n) has 64 elements of one plane.
//!include lib/nan.wgsl

// Storage type of images and their gradients: f32, or f16 with f32 arithmetic. Statistics and parameters are f32.
alias Real = f32;

override RELU: u32 = 0u;
override RESIDUAL: u32 = 0u;

struct Params {
  plane: u32,
  channels: u32,
  offset_x: u32,
  offset_dy: u32,
  offset_weight: u32,
  inverse_count: f32,
  epsilon: f32,
  // First workgroup of this dispatch: the engine splits one that has more than a device takes.
  origin: vec3u,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read> dy: array<Real>;
// Not read unless RELU = 1.
@group(0) @binding(2) var<storage, read> y: array<Real>;
@group(0) @binding(3) var<storage, read> stats: array<vec2f>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;
// Σ h x̂, then Σ h: [2, channels]. In one buffer, since adapters are only required to offer eight.
@group(0) @binding(5) var<storage, read> sums: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<Real>;
// Not written unless RESIDUAL = 1.
@group(0) @binding(7) var<storage, read_write> dresidual: array<Real>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = id + params.origin;
  let i = group.x * 64u + local.x;
  if (i >= params.plane) {
    return;
  }
  let c = group.y;
  let at = (group.z * params.channels + c) * params.plane + i;
  var h = f32(dy[params.offset_dy + at]);
  if (RELU == 1u) {
    h = relu_backward(h, f32(y[at]));
  }
  let inverse = 1.0 / sqrt(stats[c].y + params.epsilon);
  let normalized = (f32(x[params.offset_x + at]) - stats[c].x) * inverse;
  let mean = (sums[params.channels + c] + normalized * sums[c]) * params.inverse_count;
  dx[at] = Real(weight[params.offset_weight + c] * inverse * (h - mean));
  if (RESIDUAL == 1u) {
    dresidual[at] = Real(h);
  }
}
