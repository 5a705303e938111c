// y[i] = f(a[i], b[i]) for dense operands and y of a multiple of 4 elements: one invocation per four neighbours, since loads and
// stores of vectors cost software drivers little more than those of one element. n and offsets count fours.
//!include lib/index.wgsl
//!include lib/binary.wgsl

@group(0) @binding(0) var<storage, read> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<Real>>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  let u = vec4f(a[params.offset_a + i]);
  let v = vec4f(b[params.offset_b + i]);
  y[i] = vec4<Real>(vec4f(apply(u.x, v.x), apply(u.y, v.y), apply(u.z, v.z), apply(u.w, v.w)));
}
