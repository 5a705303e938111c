// Augmented images of a mini-batch, straight from the bytes of a data set. Image i of y [n, channels, out_height,
// out_width] comes from image index[i] of `images` [count, channels, height, width] (uint8, four to a word) by
//   crop         a window at a random place of the image with `padding` black pixels on each side
//   flip         columns reversed, with probability `flip`
//   affine       the pixel is read (bilinear, black outside) at M (x, y, 1)ᵀ, M a random one of the table `maps` [k, 2, 3]
//   brightness   times a random factor of [1 − b, 1 + b], cut to 0 … 1
//   normalise    times scale[channel] plus shift[channel]
//   cut-out      0 in a square of side `hole` at a random centre, cut by the border (DeVries and Taylor, 2017)
//   mixture      λ times this plus 1 − λ times what image i + 1 of the mini-batch (after the last: the first) became,
//                λ of Beta(α, α) (Zhang et al., mixup, 2018)
// in this order. A data set too large for one binding is split into two parts (PARTS = 2), of which the first has `first`
// images. The random numbers of an image depend only on its place i and the step. One invocation makes four neighbouring
// columns of a row in all channels, so that the random bits of an image are computed once for twelve pixels.
//!include lib/index.wgsl
//!include lib/divide.wgsl
//!include lib/augment.wgsl
//!include lib/faults.wgsl

override PARTS: u32 = 1u;
override AFFINE: u32 = 0u;
override HOLE: u32 = 0u;
override MIX: u32 = 0u;
override STEPPED: u32 = 0u;

const MAX_CHANNELS: u32 = 4u;

struct Params {
  n: u32,
  count: u32,
  first: u32,
  channels: u32,
  // Images that one is made of: 1, or 2 in a mixture.
  sources: u32,
  size: vec2i,
  out: vec2i,
  padding: i32,
  hole: i32,
  maps: u32,
  maps_offset: u32,
  offset_0: u32,
  offset_1: u32,
  index_offset: u32,
  step_offset: u32,
  step: u32,
  stream: u32,
  seed_low: u32,
  seed_high: u32,
  flip: f32,
  brightness: f32,
  inverse_alpha: f32,
  scale: vec4f,
  shift: vec4f,
  fault: u32,
}

@group(0) @binding(0) var<storage, read> images_0: array<u32>;
@group(0) @binding(1) var<storage, read> images_1: array<u32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read> step_buffer: array<u32>;
@group(0) @binding(4) var<storage, read> maps: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> faults: array<atomic<u32>, 5>;
@group(0) @binding(7) var<uniform> params: Params;

// How one image of the mini-batch is seen: pixel (row, column) of the result is pixel
// (row + shift.x, column · turn + shift.y) of the image, before the affine map.
struct View {
  part: u32,
  first_byte: i32,
  shift: vec2i,
  turn: i32,
  gain: f32,
  // First row and column of the square, which need not be inside.
  hole: vec2i,
  map_x: vec3f,
  map_y: vec3f,
}

fn view_of(source: Source, i: u32) -> View {
  let wanted = index[params.index_offset + i];
  if (wanted >= params.count) {
    report_index(wanted, params.count);
  }
  let row = min(wanted, params.count - 1u);
  let words = draw(source, i, PURPOSE_VIEW);
  let free = vec2u(params.size + 2 * params.padding - params.out) + 1u;
  let at = vec2i(vec2u(below(words.x, free.x), below(words.y, free.y))) - params.padding;
  let flipped = unit(words.z) < params.flip;
  let part = select(0u, 1u, row >= params.first);
  var view = View(
    part,
    i32((row - part * params.first) * params.channels) * params.size.x * params.size.y,
    vec2i(at.x, select(at.y, at.y + params.out.y - 1, flipped)),
    select(1, -1, flipped),
    1.0 + params.brightness * (2.0 * unit(words.w) - 1.0),
    vec2i(0),
    vec3f(0.0),
    vec3f(0.0),
  );
  if (AFFINE + HOLE > 0u) {
    let more = draw(source, i, PURPOSE_HOLE);
    let centre = vec2u(below(more.x, u32(params.out.x)), below(more.y, u32(params.out.y)));
    view.hole = vec2i(centre) - params.hole / 2;
    if (AFFINE == 1u) {
      let m = params.maps_offset + 6u * below(more.z, params.maps);
      view.map_x = vec3f(maps[m], maps[m + 1u], maps[m + 2u]);
      view.map_y = vec3f(maps[m + 3u], maps[m + 4u], maps[m + 5u]);
    }
  }
  return view;
}

fn inside(at: vec2i) -> bool {
  return at.x >= 0 && at.x < params.size.x && at.y >= 0 && at.y < params.size.y;
}

// The word that holds byte 4 i of a part; what is outside it is not used.
fn word(part: u32, i: i32) -> u32 {
  if (PARTS == 2u && part == 1u) {
    return images_1[clamp(i + i32(params.offset_1), 0, i32(arrayLength(&images_1)) - 1)];
  }
  return images_0[clamp(i + i32(params.offset_0), 0, i32(arrayLength(&images_0)) - 1)];
}

// Byte (row, column) of the plane that begins at `plane`, 0 outside.
fn texel(part: u32, plane: i32, at: vec2i) -> f32 {
  let i = plane + at.x * params.size.y + at.y;
  return select(0.0, f32((word(part, i >> 2u) >> (u32(i & 3) * 8u)) & 255u), inside(at));
}

fn bilinear(part: u32, plane: i32, at: vec2f) -> f32 {
  let low = floor(at);
  let f = at - low;
  let corner = vec2i(low);
  let top = mix(texel(part, plane, corner), texel(part, plane, corner + vec2i(0, 1)), f.y);
  let bottom = mix(texel(part, plane, corner + vec2i(1, 0)), texel(part, plane, corner + vec2i(1, 1)), f.y);
  return mix(top, bottom, f.x);
}

// Columns x … x + 3 of row `line` of channel c, with everything but the mixture.
fn four(view: View, c: u32, line: i32, x: i32) -> vec4f {
  let plane = view.first_byte + i32(c) * params.size.x * params.size.y;
  let columns = vec4i(x, x + 1, x + 2, x + 3) * view.turn + view.shift.y;
  let row = line + view.shift.x;
  var v = vec4f(0.0);
  if (AFFINE == 1u) {
    for (var j = 0u; j < 4u; j++) {
      let p = vec3f(f32(columns[j]), f32(row), 1.0);
      v[j] = bilinear(view.part, plane, vec2f(dot(view.map_y, p), dot(view.map_x, p)));
    }
  } else {
    // The four bytes lie in one or two words.
    let low = plane + row * params.size.y + min(columns.x, columns.w);
    let first = low >> 2u;
    let words = vec2u(word(view.part, first), word(view.part, first + 1));
    let places = vec4u(plane + row * params.size.y + columns - (first << 2u));
    let bits = select(vec4u(words.x), vec4u(words.y), places > vec4u(3u)) >> ((places & vec4u(3u)) * 8u);
    let seen = (columns >= vec4i(0)) & (columns < vec4i(params.size.y));
    let row_seen = row >= 0 && row < params.size.x;
    v = select(vec4f(0.0), vec4f(bits & vec4u(255u)), seen & vec4<bool>(row_seen));
  }
  v = clamp(v * (view.gain * 0.00392156862745098), vec4f(0.0), vec4f(1.0));
  v = fma(v, vec4f(params.scale[c]), vec4f(params.shift[c]));
  if (HOLE == 1u) {
    let across = vec4i(x, x + 1, x + 2, x + 3) - view.hole.y;
    let down = line - view.hole.x;
    let line_cut = down >= 0 && down < params.hole;
    let cut = (across >= vec4i(0)) & (across < vec4i(params.hole)) & vec4<bool>(line_cut);
    v = select(v, vec4f(0.0), cut);
  }
  return v;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let flat = i32(flat_index(id, groups));
  let quads = (params.out.y + 3) >> 2u;
  let lines = i32(params.n) * params.out.x;
  if (flat >= lines * quads) {
    return;
  }
  let image_line = divide(flat, quads);
  let x = (flat - image_line * quads) * 4;
  let i = divide(image_line, params.out.x);
  let line = image_line - i * params.out.x;

  var step = params.step;
  if (STEPPED == 1u) {
    step += step_buffer[params.step_offset];
  }
  let source = Source(step, params.stream, vec2u(params.seed_low, params.seed_high));
  var share = 1.0;
  if (MIX == 1u) {
    share = mix_share(draw(source, u32(i), PURPOSE_MIX), params.inverse_alpha);
  }
  // The length of these loops is hidden from the compiler: unrolled, the code would take many times longer to compile.
  var total = array<vec4f, MAX_CHANNELS>();
  for (var k = 0u; k < params.sources; k++) {
    let next = select(i + 1, 0, i + 1 == i32(params.n));
    let view = view_of(source, u32(select(i, next, k == 1u)));
    let weight = select(share, 1.0 - share, k == 1u);
    for (var c = 0u; c < params.channels; c++) {
      total[c] += weight * four(view, c, line, x);
    }
  }
  for (var c = 0u; c < params.channels; c++) {
    let v = total[c];
    let at = ((i * i32(params.channels) + i32(c)) * params.out.x + line) * params.out.y + x;
    for (var j = 0; j < 4; j++) {
      let column = x + j;
      if (column < params.out.y) {
        y[at + j] = v[j];
      }
    }
  }
}
