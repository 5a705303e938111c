enable subgroups;
// First of the kernels of an aligner iteration in the hidden layer (src/ebm/hidden.ts describes them all).
// Z = R W1ᵀ for three kinds of rows R of length d, W1 [H, d]:
//   `current` rows    current[i_r] · W1ᵀ + b1       pre-activations where the chains start
//   `previous` rows   previous[i_r] · W1ᵀ + b1      pre-activations of the previous model's latents
//   H rows            W1 · W1ᵀ                      G: what one step along a hidden unit does to all of them
// i_r = order[(counter[0] mod window) · current + r] with GATHER = 1, else r. z is [current + previous + H, H], dense. The model keeps
// W1 transposed, [d, H], so that lanes read neighbouring units.
//
// A subgroup of LANES invocations keeps TM rows × LANES · TN units in registers. Of LANES values of k at a time, each lane
// loads one for every row and shuffles hand them around. A lane's units
// come in packs of neighbours. Workgroups: tiles of TM rows of one kind in x, tiles of units in y.

const TM: u32 = 16u;
const LANES: u32 = 8u;
const H: u32 = 64u;
// Hidden units a lane: a workgroup covers LANES · TN of them.
const TN: u32 = 4u;
// Neighbouring units of a lane, which are loaded and computed with together: vec4f and 4, or f32 and 1.
alias Pack = vec4f;
const PACK: u32 = 4u;

// Packs of a lane, and of a row.
const PACKS: u32 = TN / PACK;
const ROW: u32 = H / PACK;

override GATHER: u32 = 0u;

struct Params {
  d: u32,
  current: u32,
  previous: u32,
  weight: u32,
  bias: u32,
  // Mini-batches in order.
  window: u32,
  // LANES again: a bound that is not a constant keeps compilers from unrolling, which here costs minutes and gains nothing.
  lanes: u32,
}

@group(0) @binding(0) var<storage, read> current: array<f32>;
@group(0) @binding(1) var<storage, read> previous: array<f32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> counter: array<u32>;
@group(0) @binding(4) var<storage, read> model: array<f32>;
// The same buffer in packs.
@group(0) @binding(5) var<storage, read> packs: array<Pack>;
// Of the current latents, then G.
@group(0) @binding(6) var<storage, read_write> z: array<Pack>;
// Of the previous latents, from row `current` + 1 on: before those hidden_chain.wgsl writes.
@group(0) @binding(7) var<storage, read_write> ends: array<Pack>;
@group(0) @binding(8) var<uniform> params: Params;

var<private> acc: array<array<Pack, PACKS>, TM>;
var<private> from_row: array<f32, TM>;

// Adds the products of up to LANES values of k, lane l holding k0 + l of every row.
fn multiply(k0: u32, pack0: u32) {
  let count = min(params.lanes, params.d - k0);
  for (var l = 0u; l < count; l++) {
    let at = params.weight / PACK + (k0 + l) * ROW + pack0;
    var w: array<Pack, PACKS>;
    for (var q = 0u; q < PACKS; q++) {
      w[q] = packs[at + q * LANES];
    }
    // Rows outside, as in matmul_subgroup.wgsl.
    for (var i = 0u; i < TM; i++) {
      let row = Pack(subgroupShuffle(from_row[i], l));
      for (var q = 0u; q < PACKS; q++) {
        acc[i][q] = fma(row, w[q], acc[i][q]);
      }
    }
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let lane = local.x;
  let pack0 = group.y * (LANES * PACKS) + lane;
  let tiles_current = (params.current + TM - 1u) / TM;
  let tiles_previous = (params.previous + TM - 1u) / TM;
  var kind = 0u;
  var tile = group.x;
  var rows = params.current;
  var first = 0u;
  if (tile >= tiles_current) {
    kind = 1u;
    tile -= tiles_current;
    rows = params.previous;
    first = params.current + 1u;
    if (tile >= tiles_previous) {
      kind = 2u;
      tile -= tiles_previous;
      rows = H;
      first = params.current;
    }
  }

  var at: array<u32, TM>;
  for (var i = 0u; i < TM; i++) {
    var row = min(tile * TM + i, rows - 1u);
    if (GATHER == 1u && kind < 2u) {
      row = order[(counter[0] % params.window) * params.current + row];
    }
    at[i] = select(row * params.d, params.weight + row, kind == 2u);
  }
  for (var q = 0u; q < PACKS; q++) {
    let start = select(packs[params.bias / PACK + pack0 + q * LANES], Pack(0.0), kind == 2u);
    for (var i = 0u; i < TM; i++) {
      acc[i][q] = start;
    }
  }

  for (var k0 = 0u; k0 < params.d; k0 += LANES) {
    let k = min(k0 + lane, params.d - 1u);
    if (kind == 0u) {
      for (var i = 0u; i < TM; i++) {
        from_row[i] = current[at[i] + k];
      }
    } else if (kind == 1u) {
      for (var i = 0u; i < TM; i++) {
        from_row[i] = previous[at[i] + k];
      }
    } else {
      for (var i = 0u; i < TM; i++) {
        from_row[i] = model[at[i] + k * H];
      }
    }
    multiply(k0, pack0);
  }

  // One store in a loop whose length compilers do not know, with the row selected from the registers: software drivers
  // take some 17 ms to compile each store of a vector.
  let row0 = tile * TM;
  let end = min(row0 + TM, rows);
  for (var row = row0; row < end; row++) {
    for (var q = 0u; q < PACKS; q++) {
      var value = acc[0][q];
      for (var i = 1u; i < TM; i++) {
        value = select(value, acc[i][q], row0 + i == row);
      }
      let place = (first + row) * ROW + pack0 + q * LANES;
      if (kind == 1u) {
        ends[place] = value;
      } else {
        z[place] = value;
      }
    }
  }
}
