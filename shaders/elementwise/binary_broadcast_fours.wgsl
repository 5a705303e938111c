// As binary.wgsl where the last dimension of y is a multiple of 4: one invocation four neighbours of y, which share the
// walk over the dimensions and one store.
//!include lib/divide.wgsl
//!include lib/index.wgsl
//!include lib/binary.wgsl

// Dimensions, 1 to 8.
override RANK: u32 = 1u;

@group(0) @binding(0) var<storage, read> a: array<Real>;
@group(0) @binding(1) var<storage, read> b: array<Real>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<Real>>;
// n counts fours.
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  var at_a = params.offset_a;
  var at_b = params.offset_b;
  var rest = i * 4u;
  for (var d = RANK; d > 1u; d--) {
    let n = dim(params.shape, d - 1u);
    let q = quotient(rest, n);
    let k = rest - q * n;
    at_a += k * dim(params.stride_a, d - 1u);
    at_b += k * dim(params.stride_b, d - 1u);
    rest = q;
  }
  at_a += rest * dim(params.stride_a, 0u);
  at_b += rest * dim(params.stride_b, 0u);
  let step_a = dim(params.stride_a, RANK - 1u);
  let step_b = dim(params.stride_b, RANK - 1u);
  y[i] = vec4<Real>(
    vec4f(
      apply(f32(a[at_a]), f32(b[at_b])),
      apply(f32(a[at_a + step_a]), f32(b[at_b + step_b])),
      apply(f32(a[at_a + 2u * step_a]), f32(b[at_b + 2u * step_b])),
      apply(f32(a[at_a + 3u * step_a]), f32(b[at_b + 3u * step_b])),
    ),
  );
}
