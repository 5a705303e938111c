// y[plane, o] = x[plane, index[plane, o]]: an element of a plane of x for every output of that plane. x is
// [planes, plane_x], index and y [planes, plane_y], dense; indices past a plane read its last element.
//!include lib/index.wgsl
//!include lib/divide.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

struct Params {
  n: u32,
  plane_x: i32,
  plane_y: i32,
  offset_x: i32,
  offset_index: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<Real>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  let plane = divide(i32(i), params.plane_y);
  let at = min(i32(index[params.offset_index + i]), params.plane_x - 1);
  y[i] = x[params.offset_x + plane * params.plane_x + at];
}
