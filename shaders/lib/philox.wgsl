// Philox4x32-10: counter-based random bits (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).
// src/tensor/random.ts computes the same bits on the CPU.
//!include lib/log.wgsl

fn mul_hi(a: u32, b: u32) -> u32 {
  let al = a & 0xffffu;
  let ah = a >> 16u;
  let bl = b & 0xffffu;
  let bh = b >> 16u;
  let mid = ah * bl + ((al * bl) >> 16u);
  let low = al * bh + (mid & 0xffffu);
  return ah * bh + (mid >> 16u) + (low >> 16u);
}

fn philox(counter: vec4u, seed: vec2u) -> vec4u {
  var c = counter;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    let h0 = mul_hi(0xD2511F53u, c.x);
    let h1 = mul_hi(0xCD9E8D57u, c.z);
    c = vec4u(h1 ^ c.y ^ key.x, 0xCD9E8D57u * c.z, h0 ^ c.w ^ key.y, 0xD2511F53u * c.x);
    key += vec2u(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

// Uniform in [0, 1) with 24 bits: exact in f32, so the same bits everywhere.
fn unit(bits: u32) -> f32 {
  return f32(bits >> 8u) * 5.9604644775390625e-8;
}

// cos and sin of 2π u, u in [0, 1), within 2 ulp of their own size or 1e-7: WGSL's own may be off by 2^-11.
fn turn(u: f32) -> vec2f {
  let t = u * 4.0;
  let quadrant = u32(t);
  let a = (t - f32(quadrant) - 0.5) * 1.5707963267948966;
  let a2 = a * a;
  let s = a + a * a2 * (-1.6666654611e-1 + a2 * (8.3321608736e-3 - a2 * 1.9515295891e-4));
  let c = 1.0 - 0.5 * a2 + a2 * a2 * (4.166664568298827e-2 + a2 * (-1.388731625493765e-3 + a2 * 2.443315711809948e-5));
  // The angle is a + π/4 + quadrant · π/2.
  let eighth = vec2f(c - s, c + s) * 0.70710678118654752;
  switch quadrant {
    case 0u: { return eighth; }
    case 1u: { return vec2f(-eighth.y, eighth.x); }
    case 2u: { return -eighth; }
    default: { return vec2f(eighth.y, -eighth.x); }
  }
}

// Two normal numbers from two words (Box and Muller, 1958). u1 lies in (0, 1], so the logarithm is finite.
fn normal_pair(b0: u32, b1: u32) -> vec2f {
  let u1 = (f32(b0 >> 8u) + 1.0) * 5.9604644775390625e-8;
  return sqrt(-2.0 * log_normal(u1, 0.0)) * turn(unit(b1));
}
