// NaN by its bits: WGSL lets an implementation assume that there are none, and some fold x != x to false, or give
// max(NaN, 0) as 0. These functions do what IEEE 754 and PyTorch do.

const NAN_BITS = 0x7fc00000u;
const INFINITY_BITS = 0x7f800000u;
const MINUS_INFINITY_BITS = 0xff800000u;

// The number of these bits. `source` is anything known only at run time: a constant NaN or infinity is forbidden.
fn special(bits: u32, source: u32) -> f32 {
  return bitcast<f32>(bits | (source & 0u));
}

fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > INFINITY_BITS;
}

// Neither NaN nor an infinity.
fn is_finite(x: f32) -> bool {
  return (bitcast<u32>(x) & INFINITY_BITS) != INFINITY_BITS;
}

// Negative or −0, but not NaN: the bits from those of −0 to those of −∞.
fn is_negative(x: f32) -> bool {
  return bitcast<u32>(x) - 0x80000000u <= INFINITY_BITS;
}

// The larger one; NaN where either is.
fn larger(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}

// The smaller one; NaN where either is.
fn smaller(a: f32, b: f32) -> f32 {
  return select(select(min(a, b), b, is_nan(b)), a, is_nan(a));
}

fn relu(x: f32) -> f32 {
  return select(x, 0.0, is_negative(x));
}

// Gradient g through a ReLU at x: 0 where x ≤ 0, else g.
fn relu_backward(g: f32, x: f32) -> f32 {
  return select(g, 0.0, is_negative(x) || x == 0.0);
}
