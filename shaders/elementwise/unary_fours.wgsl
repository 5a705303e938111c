// y[i] = f(x[i]) for dense operands and y of a multiple of 4 elements: one invocation per four neighbours, since loads and
// stores of vectors cost software drivers little more than those of one element. n and offsets count fours.
//!include lib/index.wgsl
//!include lib/unary.wgsl

@group(0) @binding(0) var<storage, read> x: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Real>>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  let v = vec4f(x[params.offset + i]);
  y[i] = vec4<Real>(vec4f(apply(v.x), apply(v.y), apply(v.z), apply(v.w)));
}
