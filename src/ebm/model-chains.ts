import { noGrad } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { copyInto, slice } from '../ops/views.ts';
import { empty } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Chains, LangevinChain, SamplerVariant } from './chains.ts';
import { canRunDeep, sampleDeep } from './deep.ts';
import { fusedChains } from './fused.ts';
import { canRunHidden, sampleHidden } from './hidden.ts';
import type { EnergyModelConfig, EnergyNetwork } from './network.ts';

/**
 * Chains of an `EnergyModel` by the kernels that the variant names, or undefined for plain ops. Call inside a tidy scope.
 *
 * `auto` takes, in this order:
 * 1. kernels that move pre-activations of the first hidden layer instead of latents: a step costs no product with the
 *    latent's size. They know one number as step size, and no noise, limits or points on the way.
 * 2. on software drivers plain ops: the kernel of 3 lives on barriers, for which these take 5 to 20 times as long.
 * 3. the kernel that runs all steps of a chain in one workgroup: one dispatch, any options.
 * @throws EliError `ARGUMENT` for `hidden` where its kernels cannot run the chain.
 */
export function runChains(
  network: EnergyNetwork,
  start: Tensor,
  chain: LangevinChain,
  variant: SamplerVariant,
): Chains | undefined {
  const { engine } = start;
  const inHidden = isBare(chain) ? hiddenKernels(engine, network.config) : undefined;
  if (variant === 'hidden' && inHidden === undefined) {
    throw new EliError(
      'ARGUMENT',
      'sample: the hidden-layer variant needs one hidden layer of 32 or 64 units, or more of 2, 4, 6, 8, 12 or 16 units for each lane of a subgroup, a constant step size, no noise, clamp or trajectory, and subgroups of one size',
      { hint: 'use variant "auto"' },
    );
  }
  if (inHidden !== undefined && (variant === 'hidden' || variant === 'auto')) {
    const { steps, stepSizes } = chain;
    return noGrad(engine, () => ({
      latents: inChunks(start, (part) => inHidden(network, part, steps, stepSizes[0]!)),
    }));
  }
  if (variant === 'plain' || (variant === 'auto' && engine.adapter.software)) return undefined;
  return fusedChains(network, start, chain);
}

/** Whether a chain is one step size and nothing else. */
function isBare({ steps, stepSizes, sigmas, clamp, trajectory }: LangevinChain): boolean {
  const constant = steps > 0 && stepSizes.every((v) => v === stepSizes[0]) && sigmas.every((v) => v === 0);
  return constant && clamp === undefined && !trajectory;
}

function hiddenKernels(engine: Engine, config: EnergyModelConfig): typeof sampleHidden | undefined {
  if (canRunHidden(engine, config)) return sampleHidden;
  return canRunDeep(engine, config) ? sampleDeep : undefined;
}

/** Rows that one launch takes, so that buffers and workgroup counts stay within every adapter's limits. */
const CHUNK_ROWS = 16384;

/** Applies `fn` to up to so many rows [n, d] at a time. */
function inChunks(x: Tensor, fn: (part: Tensor) => Tensor): Tensor {
  const [n, d] = x.shape as [number, number];
  if (n <= CHUNK_ROWS) return fn(x);
  const out = empty(x.engine, x.shape);
  for (let first = 0; first < n; first += CHUNK_ROWS) {
    x.engine.tidy(() => {
      const done = fn(slice(x, 0, first, Math.min(first + CHUNK_ROWS, n)));
      copyInto(done, out, out.strides, first * d);
    });
  }
  return out;
}
