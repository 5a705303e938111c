// What the kernels of elementwise functions of two operands share: their params, and the function by its number OP.
//!include lib/functions.wgsl

// Storage type of numbers: f32, or f16 with f32 arithmetic.
alias Real = f32;

override OP: u32 = 0u;
// Values of OP; src/ops/core/binary-op.ts has the same names and numbers.
const OP_ADD = 0u;
const OP_SUB = 1u;
const OP_MUL = 2u;
const OP_DIV = 3u;
const OP_POW_TENSOR = 4u;
const OP_MAXIMUM = 5u;
const OP_MINIMUM = 6u;
const OP_EQUAL = 7u;
const OP_NOT_EQUAL = 8u;
const OP_LESS = 9u;
const OP_LESS_EQUAL = 10u;
const OP_GREATER = 11u;
const OP_GREATER_EQUAL = 12u;
const OP_LEAKY_RELU_BACKWARD = 13u;
const OP_RELU_BACKWARD = 14u;

struct Params {
  shape: array<vec4u, 2>,
  stride_a: array<vec4u, 2>,
  stride_b: array<vec4u, 2>,
  n: u32,
  offset_a: u32,
  offset_b: u32,
  alpha: f32,
}

// Whether neither is NaN.
fn ordered(u: f32, v: f32) -> bool {
  return !is_nan(u) && !is_nan(v);
}

fn apply(u: f32, v: f32) -> f32 {
  switch OP {
    case OP_ADD: { return u + v; }
    case OP_SUB: { return u - v; }
    case OP_MUL: { return u * v; }
    case OP_DIV: { return u / v; }
    case OP_POW_TENSOR: { return power(u, v); }
    case OP_MAXIMUM: { return larger(u, v); }
    case OP_MINIMUM: { return smaller(u, v); }
    case OP_EQUAL: { return select(0.0, 1.0, ordered(u, v) && u == v); }
    case OP_NOT_EQUAL: { return select(1.0, 0.0, ordered(u, v) && u == v); }
    case OP_LESS: { return select(0.0, 1.0, ordered(u, v) && u < v); }
    case OP_LESS_EQUAL: { return select(0.0, 1.0, ordered(u, v) && u <= v); }
    case OP_GREATER: { return select(0.0, 1.0, ordered(u, v) && u > v); }
    case OP_GREATER_EQUAL: { return select(0.0, 1.0, ordered(u, v) && u >= v); }
    // Gradient u through a leaky ReLU at v; at 0 the slope counts, as in PyTorch.
    case OP_LEAKY_RELU_BACKWARD: { return select(params.alpha * u, u, v > 0.0); }
    case OP_RELU_BACKWARD: { return relu_backward(u, v); }
    default: { return u; }
  }
}
