// First half of the statistics of a batch, by channel c of x [n, c, plane], dense: of the images of part p
//   partial[c, p] = (Σ (x - k), Σ (x - k)²),  k = x[0, c, 0]
// Shifted by a value of the channel, the squares lose no digits when the mean is large. There are `parts` parts of `images`
// images; THREADS invocations work on one (c, p).
//!include lib/reduce.wgsl

// Storage type of images and their gradients: f32, or f16 with f32 arithmetic. Statistics and parameters are f32.
alias Real = f32;

struct Params {
  offset: u32,
  n: u32,
  channels: u32,
  plane: u32,
  parts: u32,
  images: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read_write> partial: array<vec2f>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(THREADS, ROWS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = row_index(group, local, groups);
  let live = row < params.channels * params.parts;
  let c = select(0u, row / params.parts, live);
  let first = (row % params.parts) * params.images;
  let end = select(first, min(first + params.images, params.n), live);
  let shift = f32(x[params.offset + c * params.plane]);
  var total = vec2f();
  for (var image = first; image < end; image++) {
    let base = params.offset + (image * params.channels + c) * params.plane;
    var sums = vec2f();
    for (var i = local.x; i < params.plane; i += THREADS) {
      let d = f32(x[base + i]) - shift;
      sums += vec2f(d, d * d);
    }
    total += sums;
  }
  let first_sum = workgroup_sum(total.x, local.x);
  let second_sum = workgroup_sum(total.y, local.x);
  if (live && local.x == 0u) {
    partial[row] = vec2f(first_sum, second_sum);
  }
}
