// index[plane, oy, ox] = height · width position of the largest element of x in the window of an output, the
// first NaN or else the first of equals in row-major order; x is [planes, height, width], dense. Padding counts as −∞: taps outside are skipped, and
// every window has at least one tap inside. One invocation per output.
//!include lib/index.wgsl
//!include lib/divide.wgsl
//!include lib/nan.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

struct Params {
  n: u32,
  offset: i32,
  // Rows and columns.
  size: vec2i,
  out: vec2i,
  stride: vec2i,
  padding: vec2i,
  dilation: vec2i,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read_write> index: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

override KERNEL_Y: i32 = 2;
override KERNEL_X: i32 = 2;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  let row = divide(i32(i), params.out[1]);
  let plane = divide(row, params.out[0]);
  let y0 = (row - plane * params.out[0]) * params.stride[0] - params.padding[0];
  let x0 = (i32(i) - row * params.out[1]) * params.stride[1] - params.padding[1];
  let base = params.offset + plane * params.size[0] * params.size[1];
  var best = 0.0;
  var at = -1;
  for (var ky = 0; ky < KERNEL_Y; ky++) {
    let iy = y0 + ky * params.dilation[0];
    for (var kx = 0; kx < KERNEL_X; kx++) {
      let ix = x0 + kx * params.dilation[1];
      let row_in = u32(iy) < u32(params.size[0]);
      let column_in = u32(ix) < u32(params.size[1]);
      let inside = row_in && column_in;
      let here = select(0, iy * params.size[1] + ix, inside);
      let value = f32(x[base + here]);
      let better = inside && (at < 0 || (!is_nan(best) && (is_nan(value) || value > best)));
      best = select(best, value, better);
      at = select(at, here, better);
    }
  }
  index[i] = u32(at);
}
