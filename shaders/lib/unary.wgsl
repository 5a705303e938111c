// What the kernels of elementwise functions of one operand share: their params, and the function by its number OP.
//!include lib/functions.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

override OP: u32 = 0u;
// Values of OP; src/ops/core/unary-op.ts has the same names and numbers.
const OP_IDENTITY = 0u;
const OP_NEG = 1u;
const OP_ABS = 2u;
const OP_EXP = 3u;
const OP_LOG = 4u;
const OP_SQRT = 5u;
const OP_SIGMOID = 6u;
const OP_TANH = 7u;
const OP_RELU = 8u;
const OP_LEAKY_RELU = 9u;
const OP_SOFTPLUS = 10u;
const OP_SILU = 11u;
const OP_GELU = 12u;
const OP_CLAMP = 13u;
const OP_SIGN = 14u;
const OP_INSIDE = 15u;
const OP_AFFINE = 16u;
const OP_POW_SCALAR = 17u;
const OP_ERF = 18u;
const OP_RECIPROCAL = 19u;
const OP_NORMAL_CDF = 20u;

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
    case OP_IDENTITY: { return v; }
    case OP_NEG: { return -v; }
    case OP_ABS: { return abs(v); }
    case OP_EXP: { return exponential(v); }
    case OP_LOG: { return logarithm(v); }
    case OP_SQRT: { return sqrt(v); }
    case OP_SIGMOID: { return sigmoid(v); }
    case OP_TANH: { return hyperbolic_tangent(v); }
    case OP_RELU: { return relu(v); }
    case OP_LEAKY_RELU: { return select(params.alpha * v, v, v > 0.0); }
    case OP_SOFTPLUS: { return softplus(v); }
    case OP_SILU: { return v * sigmoid(v); }
    case OP_GELU: { return v * normal_cdf(v); }
    case OP_CLAMP: { return smaller(larger(v, params.alpha), params.beta); }
    case OP_SIGN: { return sign_of(v); }
    case OP_INSIDE: { return select(0.0, 1.0, !is_nan(v) && v >= params.alpha && v <= params.beta); }
    case OP_AFFINE: { return params.alpha * v + params.beta; }
    case OP_POW_SCALAR: { return power(v, params.alpha); }
    case OP_ERF: { return erf(v); }
    case OP_RECIPROCAL: { return 1.0 / v; }
    case OP_NORMAL_CDF: { return normal_cdf(v); }
    default: { return v; }
  }
}
