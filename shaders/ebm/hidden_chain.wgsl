enable subgroups;
// Flow depends on masks that are equal in all lanes of a subgroup (subgroupOr makes them so); the analysis cannot see it.
diagnostic(off, subgroup_uniformity);
// Second of the kernels of an aligner iteration in the hidden layer (src/ebm/hidden.ts describes them all).
// Runs each Langevin chain without noise on its pre-activations h [H] instead of its latent [d]. With
// s = w2 ∘ (h > 0 ? 1 : slope), a step x ← x + ε W1ᵀ s is exactly h ← h + ε G s with G = W1 W1ᵀ, and
// x_T = x_0 + ε W1ᵀ Σ_t s_t.  G s changes only where a sign of h flips, which is rare: each flip adds one row of G.
//
// One subgroup of LANES invocations runs CHAINS chains side by side; lane l holds the hidden units l · UNITS …
// + UNITS - 1. Each unit that has flipped in any chain costs one read of its row of G, and one multiplication
// by 0 or the change for each chain. Flips are found with one bit a unit, so that all lanes add the same row.
// Writes per chain b:  ends[b, H]  h at the end,  total[j, b]  Σ_t s_t, transposed: [H, pitch].
// Passes on what hidden_update.wgsl needs and overwrites: counter[1] = counter[0], and w2 as the row of ends that follows.

const H: u32 = 64u;
const LANES: u32 = 8u;
const UNITS: u32 = H / LANES;
const CHAINS: u32 = 8u;
// Neighbouring values of z that are loaded together: 4 where UNITS is a multiple of it, else 1.
const PACK: u32 = 4u;

struct Params {
  current: u32,
  pitch: u32,
  steps: u32,
  out: u32,
  step_size: f32,
  slope: f32,
  // LANES and UNITS again: bounds that are not constants keep compilers from unrolling.
  lanes: u32,
  units: u32,
  // First workgroup of this dispatch: the engine splits one that has more than a device takes.
  origin: vec3u,
}

@group(0) @binding(0) var<storage, read> z: array<f32>;
// The same buffer as vectors.
@group(0) @binding(1) var<storage, read> z4: array<vec4f>;
@group(0) @binding(2) var<storage, read> model: array<f32>;
@group(0) @binding(3) var<storage, read_write> ends: array<f32>;
@group(0) @binding(4) var<storage, read_write> total: array<f32>;
@group(0) @binding(5) var<storage, read_write> counter: array<u32>;
@group(0) @binding(6) var<uniform> params: Params;

// The UNITS values of z from `at` on.
fn load_units(at: u32) -> array<f32, UNITS> {
  var values: array<f32, UNITS>;
  if (PACK == 4u) {
    for (var q = 0u; q < UNITS / 4u; q++) {
      let four = z4[at / 4u + q];
      for (var v = 0u; v < 4u; v++) {
        values[q * 4u + v] = four[v];
      }
    }
  } else {
    for (var u = 0u; u < UNITS; u++) {
      values[u] = z[at + u];
    }
  }
  return values;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let group = id + params.origin;
  let unit0 = local.x * UNITS;
  let row0 = group.x * CHAINS;
  let gram = params.current * H + unit0;
  var w: array<f32, UNITS>;
  var h: array<array<f32, UNITS>, CHAINS>;
  // G s of each chain.
  var g: array<array<f32, UNITS>, CHAINS>;
  var sum: array<array<f32, UNITS>, CHAINS>;
  // Bit u: unit u of this lane has h > 0. Bit u + 16: the same one step earlier.
  var signs: array<u32, CHAINS>;
  for (var u = 0u; u < UNITS; u++) {
    w[u] = model[params.out + unit0 + u];
  }
  for (var c = 0u; c < CHAINS; c++) {
    h[c] = load_units(min(row0 + c, params.current - 1u) * H + unit0);
    for (var u = 0u; u < UNITS; u++) {
      signs[c] |= select(0u, 1u << u, h[c][u] > 0.0);
    }
  }
  for (var l = 0u; l < params.lanes; l++) {
    var risen: array<u32, CHAINS> = array<u32, CHAINS>();
    for (var c = 0u; c < CHAINS; c++) {
      risen[c] = subgroupShuffle(signs[c], l);
    }
    for (var i = 0u; i < params.units; i++) {
      let j = l * UNITS + i;
      let w_j = model[params.out + j];
      let column = load_units(gram + j * H);
      for (var c = 0u; c < CHAINS; c++) {
        let s = w_j * select(params.slope, 1.0, ((risen[c] >> i) & 1u) == 1u);
        for (var u = 0u; u < UNITS; u++) {
          g[c][u] = fma(s, column[u], g[c][u]);
        }
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
      let column = load_units(gram + j * H);
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

  // One chain's stores in a loop whose length compilers do not know, with the chain selected from the registers:
  // software drivers take some 10 ms to compile each store.
  let end = min(row0 + CHAINS, params.current);
  for (var row = row0; row < end; row++) {
    for (var u = 0u; u < UNITS; u++) {
      var h_end = h[0][u];
      var s_total = sum[0][u];
      for (var c = 1u; c < CHAINS; c++) {
        h_end = select(h_end, h[c][u], row0 + c == row);
        s_total = select(s_total, sum[c][u], row0 + c == row);
      }
      ends[row * H + unit0 + u] = h_end;
      total[(unit0 + u) * params.pitch + row] = s_total;
    }
  }
  if (group.x == 0u) {
    for (var u = 0u; u < UNITS; u++) {
      ends[params.current * H + unit0 + u] = w[u];
    }
    if (local.x == 0u) {
      counter[1] = counter[0];
    }
  }
}
