// y[i] = f(a[i], b[i]) with a and b broadcast to the shape of y by their strides; y is dense.
// One invocation an element. OP selects f (src/ops/binary.ts has the same numbers).
//!include lib/divide.wgsl
//!include lib/index.wgsl
//!include lib/binary.wgsl

// Dimensions, 1 to 8; 0 where both operands are dense and of y's shape.
override RANK: u32 = 0u;

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
  var at_a = params.offset_a;
  var at_b = params.offset_b;
  if (RANK == 0u) {
    at_a += i;
    at_b += i;
  } else {
    var rest = i;
    // The outermost index is what is left.
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
  }
  y[i] = Real(apply(f32(a[at_a]), f32(b[at_b])));
}
