// y[i] = f(a[i], b[i]) with a and b broadcast to the shape of y by their strides; y is dense.
// One invocation an element. OP selects f (src/ops/binary.ts has the same numbers), DENSE = 1 says that both
// operands are dense and of y's shape.
//!include lib/divide.wgsl
//!include lib/index.wgsl
//!include lib/functions.wgsl

// What numbers are stored as: f32, or f16 with f32 arithmetic.
alias Real = f32;

override OP: u32 = 0u;
override DENSE: u32 = 1u;

struct Params {
  shape: array<vec4u, 2>,
  stride_a: array<vec4u, 2>,
  stride_b: array<vec4u, 2>,
  n: u32,
  rank: u32,
  offset_a: u32,
  offset_b: u32,
  alpha: f32,
}

@group(0) @binding(0) var<storage, read> a: array<Real>;
@group(0) @binding(1) var<storage, read> b: array<Real>;
@group(0) @binding(2) var<storage, read_write> y: array<Real>;
@group(0) @binding(3) var<uniform> params: Params;

fn apply(u: f32, v: f32) -> f32 {
  switch OP {
    case 0u: { return u + v; }
    case 1u: { return u - v; }
    case 2u: { return u * v; }
    case 3u: { return u / v; }
    case 4u: { return power(u, v, params.n); }
    case 5u: { return max(u, v); }
    case 6u: { return min(u, v); }
    case 7u: { return select(0.0, 1.0, u == v); }
    case 8u: { return select(0.0, 1.0, u != v); }
    case 9u: { return select(0.0, 1.0, u < v); }
    case 10u: { return select(0.0, 1.0, u <= v); }
    case 11u: { return select(0.0, 1.0, u > v); }
    case 12u: { return select(0.0, 1.0, u >= v); }
    // Gradient u through a leaky ReLU at v; at 0 the slope counts, as in PyTorch.
    case 13u: { return select(params.alpha * u, u, v > 0.0); }
    default: { return u; }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
  if (i >= params.n) {
    return;
  }
  var at_a = params.offset_a;
  var at_b = params.offset_b;
  if (DENSE == 1u) {
    at_a += i;
    at_b += i;
  } else {
    var rest = i;
    for (var d = params.rank; d > 0u; d--) {
      let n = dim(params.shape, d - 1u);
      let q = quotient(rest, n);
      let k = rest - q * n;
      at_a += k * dim(params.stride_a, d - 1u);
      at_b += k * dim(params.stride_b, d - 1u);
      rest = q;
    }
  }
  y[i] = Real(apply(f32(a[at_a]), f32(b[at_b])));
}
