// Images of a mini-batch from the bytes of a data set, normalised and otherwise as they are: what augment.wgsl gives, with
// the same bits, where nothing is random. Image i of y [n, channels, plane] comes from image index[i] of `images`
// [count, channels, plane] (uint8, four to a word). Planes are multiples of four, so that one invocation turns one word into
// four numbers without looking at neighbours. An index past the last image reads the last one and is reported.
//!include lib/faults.wgsl
//!include lib/index.wgsl
//!include lib/divide.wgsl

struct Params {
  // Words per image and per plane.
  image: u32,
  plane: u32,
  n: u32,
  count: u32,
  offset: u32,
  index_offset: u32,
  scale: vec4f,
  shift: vec4f,
  fault: u32,
}

@group(0) @binding(0) var<storage, read> images: array<u32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> faults: array<atomic<u32>, 5>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let flat = flat_index(id, groups);
  if (flat >= params.n * params.image) {
    return;
  }
  let i = quotient(flat, params.image);
  let within = flat - i * params.image;
  let c = quotient(within, params.plane);
  let wanted = index[params.index_offset + i];
  if (wanted >= params.count) {
    report_index(wanted, params.count);
  }
  let row = min(wanted, params.count - 1u);
  let word = images[params.offset + row * params.image + within];
  let bytes = (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
  let v = clamp(vec4f(bytes) * 0.00392156862745098, vec4f(0.0), vec4f(1.0));
  y[flat] = fma(v, vec4f(params.scale[c]), vec4f(params.shift[c]));
}
