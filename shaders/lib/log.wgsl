// Natural logarithm of m · 2^e for a positive normal x = m · 2^e, within 2 ulp: WGSL's own may be off by 2^-21 near 1.
// Polynomial of the Cephes library's logf, with m in [√½, √2). `shift` is added to e.
fn log_normal(x: f32, shift: f32) -> f32 {
  let bits = bitcast<u32>(x);
  var e = f32(i32(bits >> 23u) - 126) + shift;
  var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
  if (m < 0.70710678) {
    m = m + m;
    e -= 1.0;
  }
  let z = m - 1.0;
  let z2 = z * z;
  var p = 7.0376836292e-2;
  p = p * z - 1.1514610310e-1;
  p = p * z + 1.1676998740e-1;
  p = p * z - 1.2420140846e-1;
  p = p * z + 1.4249322787e-1;
  p = p * z - 1.6668057665e-1;
  p = p * z + 2.0000714765e-1;
  p = p * z - 2.4999993993e-1;
  p = p * z + 3.3333331174e-1;
  return ((p * z * z2 - 2.12194440e-4 * e) - 0.5 * z2) + z + 0.693359375 * e;
}
