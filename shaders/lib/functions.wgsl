// Scalar functions that WGSL lacks or leaves undefined for some arguments.

// 1 / (1 + e^-x); the clamp keeps e^-x finite, beyond it the result is 0 or 1 to f32 anyway.
fn sigmoid(x: f32) -> f32 {
  return 1.0 / (1.0 + exp(-clamp(x, -87.0, 87.0)));
}

// log(1 + e^x) without overflow.
fn softplus(x: f32) -> f32 {
  return max(x, 0.0) + log(1.0 + exp(-abs(x)));
}

// Error function, absolute error below 1.5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).
fn erf(x: f32) -> f32 {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let r = 1.0 - p * exp(-min(a * a, 87.0));
  return select(r, -r, x < 0.0);
}

// x^y as in C: WGSL's pow is undefined for a negative base. `zero_source` is any run-time number: it keeps the
// compiler from seeing a constant NaN, which WGSL forbids.
fn power(x: f32, y: f32, zero_source: u32) -> f32 {
  if (y == 0.0) {
    return 1.0;
  }
  if (x == 0.0) {
    return select(1.0 / abs(x), 0.0, y > 0.0);
  }
  // Whole small exponents by multiplication: exact where pow, made of exp2 and log2, is not.
  if (y == floor(y) && abs(y) <= 8.0) {
    var r = x;
    for (var i = 1u; i < u32(abs(y)); i++) {
      r *= x;
    }
    return select(1.0 / r, r, y > 0.0);
  }
  let r = pow(abs(x), y);
  if (x > 0.0) {
    return r;
  }
  if (y != floor(y)) {
    return bitcast<f32>(0x7fc00000u | (zero_source & 0u));
  }
  return select(r, -r, fract(abs(y) * 0.5) != 0.0);
}
