// ⌊v / d⌋ for 0 ≤ v < 2³¹, d ≥ 1, in vector operations: software drivers divide integers lane by lane. The first
// quotient is off by at most v / d · 2⁻²¹, the second, of the remainder, by at most one.
fn divide(v: i32, d: i32) -> i32 {
  let inverse = 1.0 / f32(d);
  let rough = i32(f32(v) * inverse);
  let q = rough + i32(f32(v - rough * d) * inverse);
  let rest = v - q * d;
  return q + select(0, 1, rest >= d) - select(0, 1, rest < 0);
}

// The same for unsigned numbers below 2³¹: indices.
fn quotient(v: u32, d: u32) -> u32 {
  return u32(divide(i32(v), i32(d)));
}
