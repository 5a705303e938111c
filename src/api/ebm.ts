/** Energy models, their losses and samplers. */
export type { ChainRandom } from '../ebm/chain-random.ts';
export * from '../ebm/chains.ts';
export * from '../ebm/diagnostics.ts';
export type { Energy } from '../ebm/energy.ts';
export { EnergyModel } from '../ebm/energy-model.ts';
export { type HmcOptions, hmc } from '../ebm/hmc.ts';
export * from '../ebm/losses.ts';
export * from '../ebm/mala.ts';
export { metropolis } from '../ebm/metropolis.ts';
export type { EnergyModelConfig } from '../ebm/network.ts';
export { ReplayBuffer } from '../ebm/replay-buffer.ts';
export * from '../ebm/sample.ts';
export * from '../ebm/sampler.ts';
export {
  cosineSchedule,
  exponentialSchedule,
  linearSchedule,
  type Schedule,
} from '../ebm/schedule.ts';
export * from '../ebm/score-matching.ts';
export * from '../ebm/unadjusted.ts';
