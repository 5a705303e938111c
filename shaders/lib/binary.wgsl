// What the kernels of elementwise functions of two operands share: their params, and the function by its number OP
// (src/ops/binary.ts has the same numbers).
//!include lib/functions.wgsl

// What numbers are stored as: f32, or f16 with f32 arithmetic.
alias Real = f32;

override OP: u32 = 0u;

struct Params {
  shape: array<vec4u, 2>,
  stride_a: array<vec4u, 2>,
  stride_b: array<vec4u, 2>,
  n: u32,
  offset_a: u32,
  offset_b: u32,
  alpha: f32,
}

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
