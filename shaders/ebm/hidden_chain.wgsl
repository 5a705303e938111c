enable subgroups;
// Flow depends on masks that are equal in all lanes of a subgroup (subgroupOr makes them so); the analysis cannot see it.
diagnostic(off, subgroup_uniformity);
// Second of the kernels of an aligner iteration in the hidden layer (src/ebm/hidden.ts tells the whole).
// Runs each Langevin chain without noise on its pre-activations h [H] instead of its latent [d]. With
// s = w2 ∘ (h > 0 ? 1 : slope), a step x ← x + ε W1ᵀ s is exactly h ← h + ε G s with G = W1 W1ᵀ, and
// x_T = x_0 + ε W1ᵀ Σ_t s_t.  G s changes only where a sign of h flips, which is rare: each flip adds one row of G.
//
// One subgroup of LANES invocations takes CHAINS chains; lane l holds the hidden units l · UNITS … + UNITS - 1. The
// first products G s_0 are computed for all of them together, so that G is read once; then the chains run one after
// the other. Flips are found with one bit a unit, so that all lanes add the same row of G.
// Writes per row b:  ends[0|1][b, H]  s and leaky ReLU of h at the end (rows of `previous` take no step),
//                    total[j, b]      Σ_t s_t, transposed: [H, current].
// Also hands the iteration number on: counter[1] = counter[0] (see hidden_update.wgsl).

const H: u32 = 64u;
const LANES: u32 = 8u;
const UNITS: u32 = H / LANES;
const CHAINS: u32 = 4u;

struct Params {
  current: u32,
  previous: u32,
  steps: u32,
  out: u32,
  step_size: f32,
  slope: f32,
}

@group(0) @binding(0) var<storage, read> z: array<f32>;
@group(0) @binding(1) var<storage, read> model: array<f32>;
@group(0) @binding(2) var<storage, read_write> ends: array<f32>;
@group(0) @binding(3) var<storage, read_write> total: array<f32>;
@group(0) @binding(4) var<storage, read_write> counter: array<u32>;
@group(0) @binding(5) var<uniform> params: Params;

// ends[0][row] holds G s_0 of chain `row` until the chain has run.
fn push_first(row0: u32, unit0: u32, gram: u32) {
  var g: array<array<f32, UNITS>, CHAINS>;
  for (var j = 0u; j < H; j++) {
    let w = model[params.out + j];
    var column: array<f32, UNITS>;
    for (var u = 0u; u < UNITS; u++) {
      column[u] = z[gram + j * H + unit0 + u];
    }
    for (var c = 0u; c < CHAINS; c++) {
      let row = min(row0 + c, params.current - 1u);
      let s = w * select(params.slope, 1.0, z[row * H + j] > 0.0);
      for (var u = 0u; u < UNITS; u++) {
        g[c][u] = fma(s, column[u], g[c][u]);
      }
    }
  }
  for (var c = 0u; c < CHAINS; c++) {
    if (row0 + c < params.current) {
      for (var u = 0u; u < UNITS; u++) {
        ends[(row0 + c) * H + unit0 + u] = g[c][u];
      }
    }
  }
}

fn run_chain(row: u32, steps: u32, unit0: u32, gram: u32, rows: u32) {
  var h: array<f32, UNITS>;
  var g: array<f32, UNITS>;
  var w: array<f32, UNITS>;
  var sum: array<f32, UNITS>;
  var on = 0u;
  for (var u = 0u; u < UNITS; u++) {
    h[u] = z[row * H + unit0 + u];
    g[u] = ends[row * H + unit0 + u];
    w[u] = model[params.out + unit0 + u];
    on |= select(0u, 1u << u, h[u] > 0.0);
  }
  for (var t = 0u; t < steps; t++) {
    var now = 0u;
    for (var u = 0u; u < UNITS; u++) {
      sum[u] = fma(w[u], select(params.slope, 1.0, ((on >> u) & 1u) == 1u), sum[u]);
      h[u] = fma(params.step_size, g[u], h[u]);
      now |= select(0u, 1u << u, h[u] > 0.0);
    }
    let flips = now ^ on;
    on = now;
    // Bit j of the two words: unit j has flipped. They are the same in every lane.
    var low = subgroupOr(select(0u, flips << (unit0 & 31u), unit0 < 32u));
    var high = subgroupOr(select(flips << (unit0 & 31u), 0u, unit0 < 32u));
    while ((low | high) != 0u) {
      let in_low = low != 0u;
      let j = select(32u + firstTrailingBit(high), firstTrailingBit(low), in_low);
      high = select(high & (high - 1u), high, in_low);
      low &= low - 1u;
      let risen = ((subgroupShuffle(now, j / UNITS) >> (j % UNITS)) & 1u) == 1u;
      let change = select(params.slope - 1.0, 1.0 - params.slope, risen) * model[params.out + j];
      for (var u = 0u; u < UNITS; u++) {
        g[u] = fma(change, z[gram + j * H + unit0 + u], g[u]);
      }
    }
  }
  for (var u = 0u; u < UNITS; u++) {
    let unit = unit0 + u;
    let slope = select(params.slope, 1.0, ((on >> u) & 1u) == 1u);
    ends[row * H + unit] = w[u] * slope;
    ends[(rows + row) * H + unit] = slope * h[u];
    if (row < params.current) {
      total[unit * params.current + row] = sum[u];
    }
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let unit0 = local.x * UNITS;
  let rows = params.current + params.previous;
  let row0 = group.x * CHAINS;
  if (row0 < params.current) {
    push_first(row0, unit0, rows * H);
  }
  for (var row = row0; row < min(row0 + CHAINS, rows); row++) {
    run_chain(row, select(0u, params.steps, row < params.current), unit0, rows * H, rows);
  }
  if (group.x == 0u && local.x == 0u) {
    counter[1] = counter[0];
  }
}
