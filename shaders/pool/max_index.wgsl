// index[plane, oy, ox] = height · width position of the largest element of x in the window of an output, the first NaN
// or else the first of equals in row-major order; x is [planes, height, width], dense. Padding counts as −∞: taps outside are left out, and
// every window has at least one inside. One invocation per output.
//!include lib/index.wgsl
//!include lib/divide.wgsl
//!include lib/nan.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

struct Params {
  n: u32,
  offset: i32,
  height: i32,
  width: i32,
  out_height: i32,
  out_width: i32,
  stride_y: i32,
  stride_x: i32,
  pad_y: i32,
  pad_x: i32,
  dilation_y: i32,
  dilation_x: i32,
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
  let row = divide(i32(i), params.out_width);
  let plane = divide(row, params.out_height);
  let y0 = (row - plane * params.out_height) * params.stride_y - params.pad_y;
  let x0 = (i32(i) - row * params.out_width) * params.stride_x - params.pad_x;
  let base = params.offset + plane * params.height * params.width;
  var best = 0.0;
  var at = -1;
  for (var ky = 0; ky < KERNEL_Y; ky++) {
    let iy = y0 + ky * params.dilation_y;
    for (var kx = 0; kx < KERNEL_X; kx++) {
      let ix = x0 + kx * params.dilation_x;
      let row_in = u32(iy) < u32(params.height);
      let column_in = u32(ix) < u32(params.width);
      let inside = row_in && column_in;
      let here = select(0, iy * params.width + ix, inside);
      let value = f32(x[base + here]);
      let better = inside && (at < 0 || (!is_nan(best) && (is_nan(value) || value > best)));
      best = select(best, value, better);
      at = select(at, here, better);
    }
  }
  index[i] = u32(at);
}
