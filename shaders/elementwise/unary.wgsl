// y[i] = f(x[i]) for every element of a strided x; y is dense. One invocation per element.
// OP selects f (lib/unary.wgsl).
//!include lib/divide.wgsl
//!include lib/index.wgsl
//!include lib/unary.wgsl

// Dimensions, 1 to 8; 0 where x is dense.
override RANK: u32 = 0u;

@group(0) @binding(0) var<storage, read> x: array<Real>;
@group(0) @binding(1) var<storage, read_write> y: array<Real>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  var at = params.offset;
  if (RANK == 0u) {
    at += i;
  } else {
    var rest = i;
    // The outermost index is what is left.
    for (var d = RANK; d > 1u; d--) {
      let n = dim(params.shape, d - 1u);
      let q = quotient(rest, n);
      at += (rest - q * n) * dim(params.stride, d - 1u);
      rest = q;
    }
    at += rest * dim(params.stride, 0u);
  }
  y[i] = Real(apply(f32(x[at])));
}
