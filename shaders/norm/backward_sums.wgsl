// First half of the backward pass of a batch normalisation, by channel: with h = dy where y > 0 (RELU = 1) or h = dy,
// x̂ = (x - mean) r and r = 1 / √(var + ε):  partial[c, p] = (Σ h, Σ h x̂) over the images of part p. Launched as
// moments.wgsl.
//!include lib/reduce.wgsl

// Storage type of images and their gradients: f32, or f16 with f32 arithmetic. Statistics and parameters are f32.
alias Real = f32;

override RELU: u32 = 0u;

struct Params {
  n: u32,
  channels: u32,
  plane: u32,
  parts: u32,
  images: u32,
  offset_x: u32,
  offset_dy: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read> dy: array<Real>;
// Not read unless RELU = 1.
@group(0) @binding(2) var<storage, read> y: array<Real>;
@group(0) @binding(3) var<storage, read> stats: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> partial: array<vec2f>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(THREADS, ROWS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = row_index(group, local, groups);
  let live = row < params.channels * params.parts;
  let c = select(0u, row / params.parts, live);
  let first = (row % params.parts) * params.images;
  let end = select(first, min(first + params.images, params.n), live);
  let mean = stats[c].x;
  let inverse = 1.0 / sqrt(stats[c].y + params.epsilon);
  var total = vec2f();
  for (var image = first; image < end; image++) {
    let base = (image * params.channels + c) * params.plane;
    var sums = vec2f();
    for (var i = local.x; i < params.plane; i += THREADS) {
      var h = f32(dy[params.offset_dy + base + i]);
      if (RELU == 1u) {
        h = relu_backward(h, f32(y[base + i]));
      }
      sums += vec2f(h, h * (f32(x[params.offset_x + base + i]) - mean) * inverse);
    }
    total += sums;
  }
  let first_sum = workgroup_sum(total.x, local.x);
  let second_sum = workgroup_sum(total.y, local.x);
  if (live && local.x == 0u) {
    partial[row] = vec2f(first_sum, second_sum);
  }
}
