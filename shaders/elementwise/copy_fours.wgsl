// As copy.wgsl for a dense y whose last dimension is a multiple of 4: one invocation per four neighbours of y,
// since a store costs software drivers more than all the rest.
//!include lib/divide.wgsl
//!include lib/index.wgsl

// 32 bits of any type, or f16.
alias Element = u32;

// Dimensions, 1 to 8.
override RANK: u32 = 1u;

struct Params {
  shape: array<vec4u, 2>,
  stride_x: array<vec4u, 2>,
  // Of y, in fours.
  n: u32,
  offset_x: u32,
  offset_y: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Element>>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  var at = params.offset_x;
  var rest = i * 4u;
  for (var d = RANK; d > 1u; d--) {
    let n = dim(params.shape, d - 1u);
    let q = quotient(rest, n);
    at += (rest - q * n) * dim(params.stride_x, d - 1u);
    rest = q;
  }
  at += rest * dim(params.stride_x, 0u);
  let step = dim(params.stride_x, RANK - 1u);
  y[params.offset_y + i] = vec4(x[at], x[at + step], x[at + 2u * step], x[at + 3u * step]);
}
