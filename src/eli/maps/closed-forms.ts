import type { StateDict } from '../../nn/module.ts';
import type { LatentPairs } from '../fit.ts';
import type { ClosedForm } from './closed-form.ts';
import { MeanShift } from './mean-shift.ts';
import { RidgeMap } from './ridge.ts';

/** How a closed form is fitted, and made again from its state. */
interface ClosedFormClass {
  fit(pairs: LatentPairs): Promise<ClosedForm>;
  fromState(state: StateDict, latent?: number): ClosedForm;
}

/** All closed forms, by their `name`. */
export const CLOSED_FORMS = {
  ridge: RidgeMap,
  'mean-shift': MeanShift,
} as const satisfies Record<string, ClosedFormClass>;

/** The name of a closed form. */
export type ClosedFormName = keyof typeof CLOSED_FORMS;

/**
 * Fits a closed form to latents of the same inputs by the previous and the current model, [n, d] each: current-task
 * data alone, as the aligner.
 * @throws EliError `SHAPE` when the latents do not pair up, `ARGUMENT` for latents that have no solution.
 */
export function fitMap(name: ClosedFormName, pairs: LatentPairs): Promise<ClosedForm> {
  return CLOSED_FORMS[name].fit(pairs);
}
