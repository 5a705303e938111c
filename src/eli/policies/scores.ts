import { EliError } from '../../errors.ts';

/** Answers of both heads for n samples: on the current latents, and on the aligned ones. */
export interface HeadAnswers {
  readonly oldCurrent: Answers;
  readonly oldAligned: Answers;
  readonly newCurrent: Answers;
  readonly newAligned: Answers;
}

/** Answers of one head for n samples: its classes, and their softmax probabilities, [n] each. */
export interface Answers {
  readonly classes: ArrayLike<number>;
  readonly probability: ArrayLike<number>;
}

/** The ground truth for each sample; only the measurement and the oracle see it. */
export interface Truth {
  /** 1 for a sample of the old task, [n]. */
  readonly old: ArrayLike<number>;
  /** Class, as numbered by the head of its task, [n]. */
  readonly labels: ArrayLike<number>;
}

/** Accuracies in %. */
export interface PolicyScores {
  /** With the right head given, the policy only decides on alignment: old tasks' samples, the current one's, all. */
  readonly task1: number;
  readonly task2: number;
  readonly mixed: number;
  /** Without any label, class and task must both be right: all samples, the old tasks', the current one's. */
  readonly noLabel: number;
  readonly noLabelOld: number;
  readonly noLabelNew: number;
  /** Samples whose task the policy tells correctly; absent where it does not tell one. */
  readonly gate?: number;
}

/**
 * Measures a policy. `decisions` [n] is 1 where it aligns: there the old head answers on the aligned latents, elsewhere
 * the new head on the current ones. `always` and `never` tell no task: the head with the greater softmax probability
 * answers.
 * @throws EliError `SHAPE` for a wrong number of decisions
 */
export function scorePolicy(
  answers: HeadAnswers,
  truth: Truth,
  decisions: ArrayLike<number> | 'always' | 'never',
): PolicyScores {
  const n = truth.labels.length;
  const tells = typeof decisions !== 'string';
  if (tells && decisions.length !== n)
    throw new EliError('SHAPE', `${decisions.length} decisions do not fit ${n} samples`);
  // Of the old task and of the current one: samples, and those right with the head given and without.
  const counts = [0, 0];
  const known = [0, 0];
  const open = [0, 0];
  let told = 0;
  for (let i = 0; i < n; i++) {
    const isOld = truth.old[i] === 1;
    const task = isOld ? 0 : 1;
    const aligned = tells ? decisions[i] === 1 : decisions === 'always';
    const old = aligned ? answers.oldAligned : answers.oldCurrent;
    const now = aligned ? answers.newAligned : answers.newCurrent;
    const saysOld = tells ? aligned : old.probability[i]! > now.probability[i]!;
    const right = (isOld ? old : now).classes[i] === truth.labels[i];
    counts[task]++;
    if (right) known[task]++;
    if (saysOld === isOld) told++;
    if (right && saysOld === isOld) open[task]++;
  }
  const percent = (part: number, whole: number): number => (whole === 0 ? Number.NaN : (100 * part) / whole);
  return {
    task1: percent(known[0], counts[0]),
    task2: percent(known[1], counts[1]),
    mixed: percent(known[0] + known[1], n),
    noLabel: percent(open[0] + open[1], n),
    noLabelOld: percent(open[0], counts[0]),
    noLabelNew: percent(open[1], counts[1]),
    ...(tells && { gate: percent(told, n) }),
  };
}

/**
 * Area under the ROC curve: the probability that a sample of the old task scores higher than one of the current task,
 * ties counting half. NaN if there are no samples of one of them.
 */
export function auroc(scores: ArrayLike<number>, old: ArrayLike<number>): number {
  const order = ascending(scores);
  let ranks = 0;
  let positives = 0;
  for (let first = 0; first < order.length; ) {
    let end = first;
    let found = 0;
    for (; end < order.length && scores[order[end]!] === scores[order[first]!]; end++) {
      if (old[order[end]!] === 1) found++;
    }
    ranks += (found * (first + 1 + end)) / 2;
    positives += found;
    first = end;
  }
  const negatives = order.length - positives;
  return (ranks - (positives * (positives + 1)) / 2) / (positives * negatives);
}

/**
 * Accuracies without labels on the old task's samples and on the current one's, in %, at `points` thresholds of a gate
 * from "all are old" to "none is old".
 */
export function tradeoff(
  answers: HeadAnswers,
  truth: Truth,
  scores: ArrayLike<number>,
  points = 101,
): { old: number; new: number }[] {
  const order = ascending(scores);
  const right = (i: number, by: Answers): number => (by.classes[i] === truth.labels[i] ? 1 : 0);
  const old = order.filter((i) => truth.old[i] === 1);
  let oldRight = old.reduce((sum, i) => sum + right(i, answers.oldAligned), 0);
  let newRight = 0;
  let next = 0;
  return Array.from({ length: points }, (_, p) => {
    // Samples go to the new head in order of their scores.
    const end = Math.round((p / (points - 1)) * order.length);
    for (; next < end; next++) {
      const i = order[next]!;
      if (truth.old[i] === 1) oldRight -= right(i, answers.oldAligned);
      else newRight += right(i, answers.newCurrent);
    }
    return { old: (100 * oldRight) / old.length, new: (100 * newRight) / (order.length - old.length) };
  });
}

function ascending(scores: ArrayLike<number>): number[] {
  return Array.from(scores, (_, i) => i).sort((a, b) => scores[a]! - scores[b]!);
}
