// y[offset_y + Σ k_d stride_y[d]] = x[offset_x + Σ k_d stride_x[d]] for every index k of `shape`: copies
// elements between two strided views of different buffers. One invocation per element.
//!include lib/divide.wgsl
//!include lib/index.wgsl

// 32 bits of any type, or f16.
alias Element = u32;

// Dimensions, 1 to 8.
override RANK: u32 = 1u;

struct Params {
  shape: array<vec4u, 2>,
  stride_x: array<vec4u, 2>,
  stride_y: array<vec4u, 2>,
  n: u32,
  offset_x: u32,
  offset_y: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<Element>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  var at_x = params.offset_x;
  var at_y = params.offset_y;
  var rest = i;
  // The outermost index is what is left. A dense copy (rank 1) then has no loop.
  for (var d = RANK; d > 1u; d--) {
    let n = dim(params.shape, d - 1u);
    let q = quotient(rest, n);
    let k = rest - q * n;
    at_x += k * dim(params.stride_x, d - 1u);
    at_y += k * dim(params.stride_y, d - 1u);
    rest = q;
  }
  at_x += rest * dim(params.stride_x, 0u);
  at_y += rest * dim(params.stride_y, 0u);
  y[at_y] = x[at_x];
}
