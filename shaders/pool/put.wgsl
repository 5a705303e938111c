// x[plane, p] = Σ y[plane, o] over the windows o that reach p and have index[plane, o] = p: the transpose of take.wgsl
// for indices that lie in their windows. x is [planes, height, width], y and index [planes, out_height, out_width],
// dense. One invocation an element of x; it asks the windows that can reach it, so no atomics are needed.
//!include lib/index.wgsl
//!include lib/divide.wgsl

struct Params {
  n: u32,
  height: i32,
  width: i32,
  out_height: i32,
  out_width: i32,
  // Elements from the first to the last tap of a window.
  reach_y: i32,
  reach_x: i32,
  stride_y: i32,
  stride_x: i32,
  pad_y: i32,
  pad_x: i32,
  offset_y: i32,
  offset_index: i32,
}

@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

// First window whose last tap is not before `at`.
fn first_window(at: i32, reach: i32, stride: i32) -> i32 {
  return divide(max(at - reach, 0) + stride - 1, stride);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  let row = divide(i32(i), params.width);
  let plane = divide(row, params.height);
  let iy = row - plane * params.height;
  let ix = i32(i) - row * params.width;
  let here = u32(iy * params.width + ix);
  let base = plane * params.out_height * params.out_width;
  let first_y = first_window(iy + params.pad_y, params.reach_y, params.stride_y);
  let first_x = first_window(ix + params.pad_x, params.reach_x, params.stride_x);
  let last_y = min(divide(iy + params.pad_y, params.stride_y), params.out_height - 1);
  let last_x = min(divide(ix + params.pad_x, params.stride_x), params.out_width - 1);
  var total = 0.0;
  for (var oy = first_y; oy <= last_y; oy++) {
    for (var ox = first_x; ox <= last_x; ox++) {
      let at = base + oy * params.out_width + ox;
      total += select(0.0, y[params.offset_y + at], index[params.offset_index + at] == here);
    }
  }
  x[i] = total;
}
