enable subgroups;
// Flow depends on masks that are equal in all lanes of a subgroup (subgroupOr makes them so); the analysis cannot see it.
diagnostic(off, subgroup_uniformity);
// Second of the kernels of an aligner iteration in the hidden layer (src/ebm/hidden.ts tells the whole).
// Runs each Langevin chain without noise on its pre-activations h [H] instead of its latent [d]. With
// s = w2 ∘ (h > 0 ? 1 : slope), a step x ← x + ε W1ᵀ s is exactly h ← h + ε G s with G = W1 W1ᵀ, and
// x_T = x_0 + ε W1ᵀ Σ_t s_t.  G s changes only where a sign of h flips, which is rare: each flip adds one row of G.
//
// One subgroup of LANES invocations runs CHAINS chains side by side; lane l holds the hidden units l · UNITS …
// + UNITS - 1. Each unit that has flipped in any of the chains costs one read of its row of G, and one multiplication
// by 0 or the change for each chain. Flips are found with one bit a unit, so that all lanes add the same row.
// Writes per row b:  ends[0|1][b, H]  s and leaky ReLU of h at the end (rows of `previous` take no step),
//                    total[j, b]      Σ_t s_t, transposed: [H, current].
// Also hands the iteration number on: counter[1] = counter[0] (see hidden_update.wgsl).

const H: u32 = 64u;
const LANES: u32 = 8u;
const UNITS: u32 = H / LANES;
const CHAINS: u32 = 8u;

struct Params {
  current: u32,
  previous: u32,
  steps: u32,
  out: u32,
  step_size: f32,
  slope: f32,
  // H again: a bound that is no constant keeps compilers from unrolling.
  hidden: u32,
}

@group(0) @binding(0) var<storage, read> z: array<f32>;
@group(0) @binding(1) var<storage, read> model: array<f32>;
@group(0) @binding(2) var<storage, read_write> ends: array<f32>;
@group(0) @binding(3) var<storage, read_write> total: array<f32>;
@group(0) @binding(4) var<storage, read_write> counter: array<u32>;
@group(0) @binding(5) var<uniform> params: Params;

fn write_ends(row: u32, unit: u32, w: f32, slope: f32, h: f32) {
  ends[row * H + unit] = w * slope;
  ends[(params.current + params.previous + row) * H + unit] = slope * h;
}

fn run_chains(row0: u32, unit0: u32, gram: u32) {
  var w: array<f32, UNITS>;
  var h: array<array<f32, UNITS>, CHAINS>;
  // G s of each chain.
  var g: array<array<f32, UNITS>, CHAINS>;
  var sum: array<array<f32, UNITS>, CHAINS>;
  // Bit u: unit u of this lane has h > 0. Bit u + 16: it was so a step before.
  var signs: array<u32, CHAINS>;
  for (var u = 0u; u < UNITS; u++) {
    w[u] = model[params.out + unit0 + u];
  }
  for (var c = 0u; c < CHAINS; c++) {
    let row = min(row0 + c, params.current - 1u);
    for (var u = 0u; u < UNITS; u++) {
      h[c][u] = z[row * H + unit0 + u];
      signs[c] |= select(0u, 1u << u, h[c][u] > 0.0);
    }
  }
  for (var j = 0u; j < params.hidden; j++) {
    let w_j = model[params.out + j];
    var column: array<f32, UNITS>;
    for (var u = 0u; u < UNITS; u++) {
      column[u] = z[gram + j * H + unit0 + u];
    }
    for (var c = 0u; c < CHAINS; c++) {
      let risen = (subgroupShuffle(signs[c], j / UNITS) >> (j % UNITS)) & 1u;
      let s = w_j * select(params.slope, 1.0, risen == 1u);
      for (var u = 0u; u < UNITS; u++) {
        g[c][u] = fma(s, column[u], g[c][u]);
      }
    }
  }

  for (var t = 0u; t < params.steps; t++) {
    var flips = 0u;
    for (var c = 0u; c < CHAINS; c++) {
      let before = signs[c] & 0xffffu;
      var now = 0u;
      for (var u = 0u; u < UNITS; u++) {
        sum[c][u] = fma(w[u], select(params.slope, 1.0, ((before >> u) & 1u) == 1u), sum[c][u]);
        h[c][u] = fma(params.step_size, g[c][u], h[c][u]);
        now |= select(0u, 1u << u, h[c][u] > 0.0);
      }
      flips |= before ^ now;
      signs[c] = now | (before << 16u);
    }
    // Bit j of the two words: unit j has flipped in some chain. They are the same in every lane.
    var low = subgroupOr(select(0u, flips << (unit0 & 31u), unit0 < 32u));
    var high = subgroupOr(select(flips << (unit0 & 31u), 0u, unit0 < 32u));
    while ((low | high) != 0u) {
      let in_low = low != 0u;
      let j = select(32u + firstTrailingBit(high), firstTrailingBit(low), in_low);
      high = select(high & (high - 1u), high, in_low);
      low &= low - 1u;
      let change = (1.0 - params.slope) * model[params.out + j];
      var column: array<f32, UNITS> = array<f32, UNITS>();
      for (var u = 0u; u < UNITS; u++) {
        column[u] = z[gram + j * H + unit0 + u];
      }
      for (var c = 0u; c < CHAINS; c++) {
        let bits = subgroupShuffle(signs[c], j / UNITS) >> (j % UNITS);
        // 1 where the unit has risen, -1 where it has fallen, else 0.
        let sign = f32(i32(bits & 1u) - i32((bits >> 16u) & 1u));
        for (var u = 0u; u < UNITS; u++) {
          g[c][u] = fma(sign * change, column[u], g[c][u]);
        }
      }
    }
  }

  for (var c = 0u; c < CHAINS; c++) {
    let row = row0 + c;
    if (row < params.current) {
      for (var u = 0u; u < UNITS; u++) {
        let slope = select(params.slope, 1.0, ((signs[c] >> u) & 1u) == 1u);
        write_ends(row, unit0 + u, w[u], slope, h[c][u]);
        total[(unit0 + u) * params.current + row] = sum[c][u];
      }
    }
  }
}

fn take_previous(first: u32, unit0: u32) {
  let rows = params.current + params.previous;
  for (var row = first; row < min(first + CHAINS, rows); row++) {
    for (var u = 0u; u < UNITS; u++) {
      let h = z[row * H + unit0 + u];
      write_ends(row, unit0 + u, model[params.out + unit0 + u], select(params.slope, 1.0, h > 0.0), h);
    }
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let unit0 = local.x * UNITS;
  let tiles = (params.current + CHAINS - 1u) / CHAINS;
  if (group.x < tiles) {
    run_chains(group.x * CHAINS, unit0, (params.current + params.previous) * H);
  } else {
    take_previous(params.current + (group.x - tiles) * CHAINS, unit0);
  }
  if (group.x == 0u && local.x == 0u) {
    counter[1] = counter[0];
  }
}
