// y[i] = f(a[i], b[i]) with a and b broadcast to the shape of y by their strides; y is dense.
// One invocation per element. OP selects f (lib/binary.wgsl).
//!include lib/binary_walk.wgsl

@group(0) @binding(0) var<storage, read> a: array<Real>;
@group(0) @binding(1) var<storage, read> b: array<Real>;
@group(0) @binding(2) var<storage, read_write> y: array<Real>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  let at = places(i);
  y[i] = Real(apply(f32(a[at.x]), f32(b[at.y])));
}
