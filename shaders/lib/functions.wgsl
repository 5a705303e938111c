// Scalar functions that WGSL lacks, leaves undefined for some arguments, or computes with an absolute error only. All keep
// a small relative error over the whole range of f32 on any driver (kernels-test/accuracy.test.ts), and a NaN stays one.
//!include lib/log.wgsl
//!include lib/nan.wgsl

// e^x within 2 ulp: e^r · 2^k with |r| ≤ ½ ln 2, polynomial of the Cephes library's expf.
fn exponential(x: f32) -> f32 {
  let c = clamp(x, -104.0, 89.0);
  let k = floor(c * 1.44269504088896341 + 0.5);
  let r = (c - k * 0.693359375) + k * 2.12194440e-4;
  var p = 1.9875691500e-4;
  p = p * r + 1.3981999507e-3;
  p = p * r + 8.3334519073e-3;
  p = p * r + 4.1665795894e-2;
  p = p * r + 1.6666665459e-1;
  p = p * r + 5.0000001201e-1;
  // 2^k in two factors, as neither 2^128 nor 2^-150 is a normal number.
  let low = i32(k) >> 1u;
  let y = (p * r * r + r + 1.0) * power_of_two(low) * power_of_two(i32(k) - low);
  return select(y, x, is_nan(x));
}

// 2^k for −126 ≤ k ≤ 127.
fn power_of_two(k: i32) -> f32 {
  return bitcast<f32>(u32(k + 127) << 23u);
}

// ln x within 2 ulp.
fn logarithm(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) == 0u) {
    return special(MINUS_INFINITY_BITS, bits);
  }
  if (bits == INFINITY_BITS || is_nan(x)) {
    return x;
  }
  if (is_negative(x)) {
    return special(NAN_BITS, bits);
  }
  // A subnormal number is its bits · 2^-149, of which the driver may know nothing.
  let subnormal = bits < 0x00800000u;
  return log_normal(select(x, f32(bits), subnormal), select(0.0, -149.0, subnormal));
}

// ln(1 + u) for 0 ≤ u ≤ 1: 2 artanh(s), s = u / (2 + u), by its series.
fn log_one_plus(u: f32) -> f32 {
  let s = u / (2.0 + u);
  let z = s * s;
  var p = 0.066666667;
  p = p * z + 0.076923077;
  p = p * z + 0.090909091;
  p = p * z + 0.11111111;
  p = p * z + 0.14285714;
  p = p * z + 0.2;
  p = p * z + 0.33333333;
  return 2.0 * (s + s * z * p);
}

// 1 / (1 + e^-x).
fn sigmoid(x: f32) -> f32 {
  let e = exponential(-abs(x));
  return select(1.0, e, is_negative(x)) / (1.0 + e);
}

// ln(1 + e^x).
fn softplus(x: f32) -> f32 {
  return relu(x) + log_one_plus(exponential(-abs(x)));
}

// Polynomial of the Cephes library's tanhf near 0.
fn hyperbolic_tangent(x: f32) -> f32 {
  let a = abs(x);
  if (a < 0.625) {
    let z = x * x;
    var p = -5.70498872745e-3;
    p = p * z + 2.06390887954e-2;
    p = p * z - 5.37397155531e-2;
    p = p * z + 1.33314422036e-1;
    p = p * z - 3.33332819422e-1;
    return x * (1.0 + z * p);
  }
  let t = 1.0 - 2.0 / (exponential(2.0 * a) + 1.0);
  return select(t, -t, is_negative(x));
}

// 1 − erf(√(h/2) · x) for x ≥ 0 and h = 1 or 2 (Press et al., Numerical Recipes, 2nd edition, section 6.2).
fn erfc_positive(x: f32, h: f32) -> f32 {
  // Beyond 14.3 the result is 0 in f32.
  let b = min(x, 15.0);
  let t = 1.0 / (1.0 + b * select(0.35355339059327376, 0.5, h == 2.0));
  var p = 0.17087277;
  p = p * t - 0.82215223;
  p = p * t + 1.48851587;
  p = p * t - 1.13520398;
  p = p * t + 0.27886807;
  p = p * t - 0.18628806;
  p = p * t + 0.09678418;
  p = p * t + 0.37409196;
  p = p * t + 1.00002368;
  p = p * t - 1.26551223;
  // b² in two parts, the first of which is exact: rounding it would cost accuracy in proportion to b².
  let high = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
  let y = t * exponential(-0.5 * h * high * high) * exponential(p - 0.5 * h * (b - high) * (b + high));
  return select(y, x, is_nan(x));
}

// Error function. Polynomial of the Cephes library's erff near 0.
fn erf(x: f32) -> f32 {
  let a = abs(x);
  if (a < 1.0) {
    let z = x * x;
    var p = 7.853861353153693e-5;
    p = p * z - 8.010193625184903e-4;
    p = p * z + 5.188327685732524e-3;
    p = p * z - 2.685381193529856e-2;
    p = p * z + 1.128358514861418e-1;
    p = p * z - 3.761262582423300e-1;
    p = p * z + 1.128379165726710;
    return x * p;
  }
  let r = 1.0 - erfc_positive(a, 2.0);
  return select(r, -r, is_negative(x));
}

// Distribution function of the standard normal.
fn normal_cdf(x: f32) -> f32 {
  let tail = 0.5 * erfc_positive(abs(x), 1.0);
  return select(1.0 - tail, tail, is_negative(x));
}

// −1, 0 or 1; zeros and NaN stay as they are.
fn sign_of(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let one = bitcast<f32>((bits & 0x80000000u) | 0x3f800000u);
  return select(one, x, (bits & 0x7fffffffu) == 0u || is_nan(x));
}

// x^y as C's pow (IEEE 754-2019, 9.2.1); WGSL's is undefined for a negative base.
fn power(x: f32, y: f32) -> f32 {
  if (y == 0.0 || x == 1.0) {
    return 1.0;
  }
  if (is_nan(x) || is_nan(y)) {
    return x + y;
  }
  let a = abs(x);
  let bits = bitcast<u32>(a);
  let whole = y == floor(y);
  // Beyond 2^24 every number is even.
  let odd = whole && abs(y) < 16777216.0 && (u32(abs(y)) & 1u) == 1u;
  var r: f32;
  if (bits == 0u || bits == INFINITY_BITS || (bitcast<u32>(y) & 0x7fffffffu) == INFINITY_BITS) {
    if (a == 1.0) {
      return 1.0;
    }
    r = special(select(0u, INFINITY_BITS, (a > 1.0) == (y > 0.0)), bits);
  } else if (whole && abs(y) <= 8.0) {
    // Whole small exponents by multiplication: exact where the general way is not.
    r = a;
    for (var i = 1u; i < u32(abs(y)); i++) {
      r *= a;
    }
    r = select(1.0 / r, r, y > 0.0);
  } else if (is_negative(x) && !whole) {
    return special(NAN_BITS, bits);
  } else {
    r = exponential(y * logarithm(a));
  }
  return select(r, -r, odd && is_negative(x));
}
