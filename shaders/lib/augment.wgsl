// What the augmentation kernels draw for image i of a mini-batch: four words each of
//   philox(counter = (4 i + purpose, step, stream, 0), key = seed)
// so that src/tensor/random.ts computes the same bits (word j of it is bitsAt(source, 16 i + 4 purpose + j)).
//!include lib/philox.wgsl

// Crop row and column, flip, brightness.
const PURPOSE_VIEW: u32 = 0u;
// Centre of the cut-out square, place in the table of affine maps.
const PURPOSE_HOLE: u32 = 1u;
// Share of the image in its mixture.
const PURPOSE_MIX: u32 = 2u;

struct Source {
  step: u32,
  stream: u32,
  seed: vec2u,
}

fn draw(source: Source, i: u32, purpose: u32) -> vec4u {
  return philox(vec4u(4u * i + purpose, source.step, source.stream, 0u), source.seed);
}

// A whole number below n of 32 random bits; n · 2⁻³² is the largest bias.
fn below(bits: u32, n: u32) -> u32 {
  return mul_hi(bits, n);
}

// Beta(α, α), from two words in closed form: with w = u^(1/α) and c = cos 2πv,
//   ½ + ½ sign(c) √((1 − w) c² / (w + (1 − w) c²))
// (Devroye, Random variate generation in one line of code, 1996: Bailey's Student t with 2α degrees of freedom, mapped).
fn mix_share(words: vec4u, inverse_alpha: f32) -> f32 {
  let u = (f32(words.x >> 8u) + 1.0) * 5.9604644775390625e-8;
  let w = exp(log_normal(u, 0.0) * inverse_alpha);
  let c = turn(unit(words.y)).x;
  let part = (1.0 - w) * c * c;
  return 0.5 + 0.5 * sign(c) * sqrt(part / max(w + part, 1e-30));
}
