// x[plane, p] = Σ y[plane, o] over the windows o that reach p and have index[plane, o] = p: the transpose of take.wgsl
// for indices that lie in their windows. x is [planes, height, width], y and index [planes, out_height, out_width],
// dense. One invocation per element of x; it checks the windows that can reach it, so no atomics are needed.
//!include lib/index.wgsl
//!include lib/divide.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

struct Params {
  n: u32,
  // Rows and columns.
  size: vec2i,
  out: vec2i,
  padding: vec2i,
  offset_y: i32,
  offset_index: i32,
}

@group(0) @binding(0) var<storage, read> y: array<Real>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<Real>;
@group(0) @binding(3) var<uniform> params: Params;

// Constants of the pipeline, so that the loops unroll and every divisor is a constant.
override STRIDE_Y: i32 = 2;
override STRIDE_X: i32 = 2;
// Elements from the first to the last tap of a window.
override REACH_Y: i32 = 1;
override REACH_X: i32 = 1;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  let row = divide(i32(i), params.size[1]);
  let plane = divide(row, params.size[0]);
  let iy = row - plane * params.size[0];
  let ix = i32(i) - row * params.size[1];
  let here = u32(iy * params.size[1] + ix);
  let base = plane * params.out[0] * params.out[1];
  // Windows that begin before `here` and reach it, the last one first.
  let last_y = (iy + params.padding[0]) / STRIDE_Y;
  let last_x = (ix + params.padding[1]) / STRIDE_X;
  var total = 0.0;
  for (var wy = 0; wy <= REACH_Y / STRIDE_Y; wy++) {
    let oy = last_y - wy;
    let row_in = u32(oy) < u32(params.out[0]);
    for (var wx = 0; wx <= REACH_X / STRIDE_X; wx++) {
      let ox = last_x - wx;
      let inside = row_in && u32(ox) < u32(params.out[1]);
      let at = select(0, base + oy * params.out[1] + ox, inside);
      let chosen = inside && index[params.offset_index + at] == here;
      total += select(0.0, f32(y[params.offset_y + at]), chosen);
    }
  }
  x[i] = Real(total);
}
