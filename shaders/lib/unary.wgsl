// What the kernels of elementwise functions of one operand share: their params, and the function by its number OP
// (src/ops/unary.ts has the same numbers).
//!include lib/functions.wgsl

// What numbers are stored as: f32, or f16 with f32 arithmetic.
alias Real = f32;

override OP: u32 = 0u;

struct Params {
  shape: array<vec4u, 2>,
  stride: array<vec4u, 2>,
  n: u32,
  offset: u32,
  alpha: f32,
  beta: f32,
}

fn apply(v: f32) -> f32 {
  switch OP {
    case 0u: { return v; }
    case 1u: { return -v; }
    case 2u: { return abs(v); }
    case 3u: { return exp(v); }
    case 4u: { return log(v); }
    case 5u: { return sqrt(v); }
    case 6u: { return sigmoid(v); }
    case 7u: { return tanh(clamp(v, -15.0, 15.0)); }
    case 8u: { return max(v, 0.0); }
    case 9u: { return select(params.alpha * v, v, v > 0.0); }
    case 10u: { return softplus(v); }
    case 11u: { return v * sigmoid(v); }
    case 12u: { return 0.5 * v * (1.0 + erf(v * 0.70710678118654752)); }
    case 13u: { return clamp(v, params.alpha, params.beta); }
    case 14u: { return sign(v); }
    case 15u: { return select(0.0, 1.0, v >= params.alpha && v <= params.beta); }
    case 16u: { return params.alpha * v + params.beta; }
    case 17u: { return power(v, params.alpha, params.n); }
    case 18u: { return erf(v); }
    case 19u: { return 1.0 / v; }
    default: { return v; }
  }
}
