// y[i] = c[i] ≠ 0 ? a[i] : b[i] (NaN is not 0), all three broadcast to the shape of y by their strides; y is dense.
// One invocation per element.
//!include lib/divide.wgsl
//!include lib/index.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

// Dimensions, 1 to 8.
override RANK: u32 = 1u;

struct Params {
  shape: array<vec4u, 2>,
  stride_c: array<vec4u, 2>,
  stride_a: array<vec4u, 2>,
  stride_b: array<vec4u, 2>,
  n: u32,
  offset_c: u32,
  offset_a: u32,
  offset_b: u32,
}

@group(0) @binding(0) var<storage, read> c: array<Real>;
@group(0) @binding(1) var<storage, read> a: array<Real>;
@group(0) @binding(2) var<storage, read> b: array<Real>;
@group(0) @binding(3) var<storage, read_write> y: array<Real>;
@group(0) @binding(4) var<uniform> params: Params;

fn strides(d: u32) -> vec3u {
  return vec3u(dim(params.stride_c, d), dim(params.stride_a, d), dim(params.stride_b, d));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  var at = vec3u(params.offset_c, params.offset_a, params.offset_b);
  var rest = i;
  // The outermost index is what is left.
  for (var d = RANK; d > 1u; d--) {
    let n = dim(params.shape, d - 1u);
    let q = quotient(rest, n);
    at += (rest - q * n) * strides(d - 1u);
    rest = q;
  }
  at += rest * strides(0u);
  y[i] = select(b[at.z], a[at.y], (bitcast<u32>(f32(c[at.x])) & 0x7fffffffu) != 0u);
}
