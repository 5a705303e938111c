import { CLOSED_FORMS, type ClosedFormName } from './maps/closed-forms.ts';

/**
 * Where chains start: at the current model's latents (the original), or at what a closed form that is fitted to the pairs
 * makes of them. The original does not use the pairing.
 */
export type Start = 'current' | ClosedFormName;

/** All of them, the original's first. */
export const STARTS: readonly Start[] = ['current', ...(Object.keys(CLOSED_FORMS) as ClosedFormName[])];
