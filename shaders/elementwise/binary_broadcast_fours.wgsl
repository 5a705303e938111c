// As binary.wgsl where the last dimension of y is a multiple of 4: one invocation per four neighbours of y, which share the
// walk over the dimensions and one store.
//!include lib/binary_walk.wgsl

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
  let at = places(i * 4u);
  let step = strides(RANK - 1u);
  var values: vec4f;
  for (var v = 0u; v < 4u; v++) {
    values[v] = apply(f32(a[at.x + v * step.x]), f32(b[at.y + v * step.y]));
  }
  y[i] = vec4<Real>(values);
}
