import { join } from 'node:path';
import type { ImageData } from '../../data/image-set.ts';
import { EnergyAligner } from '../../eli/aligner.ts';
import type { Engine } from '../../gpu/engine.ts';
import { writeJson } from '../../report/json.ts';
import { checkLosses } from '../checkpoint.ts';
import { loadPolicies, type PolicyReport, savePolicies } from '../policy-report.ts';
import { checkSameConfig, RunRecord, runStages, type Stage, stoppable } from '../session.ts';
import { readCheckpoint } from './checkpoint.ts';
import { alignerOptions, MNIST_KEYS, type MnistConfig } from './config.ts';
import type { MnistMetrics } from './metrics.ts';
import { saveMnistPictures } from './pictures.ts';
import { measurePolicies, POLICY_STAGES } from './policies.ts';
import { type MnistRun, MnistState } from './state.ts';
import { accuracy, taskTrainer } from './two-task.ts';

/** What a run gives; `policies` where a report was asked for. */
export interface MnistResult extends MnistMetrics {
  readonly policies?: PolicyReport;
}

/** In this order; training and fit go on in the middle, from the checkpoint. */
const STAGES: readonly Stage<MnistState>[] = [
  { name: 'task 1', done: isTrained(1), run: (state) => trainTask(state, 1) },
  { name: 'model of task 1', done: (state) => state.afterTask1 !== undefined, run: keepModel },
  { name: 'task 2', done: isTrained(2), run: (state) => trainTask(state, 2) },
  { name: 'aligner', done: () => false, run: fitAligner },
  { name: 'metrics', done: () => false, run: measure },
  { name: 'pictures', done: ({ run }) => !run.pictures, run: draw },
  { name: 'policies', done: ({ run }) => run.report === undefined, run: reportPolicies },
];

/**
 * One seed of the two-task MNIST experiment of ELI (Joseph et al., CVPR 2022, section 3.3): train on digits 0–4, then
 * on 5–9 with the same base, learn the aligner on task-2 images alone, align task-1 latents. Stopped by `signal`,
 * wherever it is, it writes a checkpoint and rejects with `RunStopped`.
 */
export async function runMnist(
  engine: Engine,
  config: MnistConfig,
  mnist: ImageData,
  run: MnistRun,
): Promise<MnistResult> {
  const before = run.resume ? await readCheckpoint(run.folder) : undefined;
  if (before !== undefined) checkSameConfig(MNIST_KEYS, run.folder, before.config, config);
  const record = new RunRecord(run, before?.logLength ?? 0);
  let state: MnistState | undefined;
  try {
    state = new MnistState(engine, config, mnist, run, record, before);
    await runStages(STAGES, state, record);
    const { metrics, policies } = state;
    return policies === undefined ? metrics! : { ...metrics!, policies };
  } finally {
    state?.dispose();
    record.close();
  }
}

function isTrained(task: 1 | 2): (state: MnistState) => boolean {
  return ({ epochs, config }) => epochs[task - 1]! >= config.epochs;
}

async function trainTask(state: MnistState, task: 1 | 2): Promise<void> {
  const { config, run, record, epochs } = state;
  const data = task === 1 ? state.sets.train1 : state.sets.train2;
  const trainer = taskTrainer(state.net, state.optimizer, task, data, config);
  const steps = trainer.stepsPerEpoch;
  const done = (): number => epochs[task - 1]! * steps + state.losses.length;
  checkLosses(run.folder, state.losses, steps - 1);
  const bar = run.progress(`task ${task}`, config.epochs * steps, 'steps', done());
  try {
    if (state.trained !== undefined) trainer.load({ ...state.trained, step: done() });
    while (!isTrained(task)(state)) {
      const first = done();
      const onProgress = (count: number, loss: number): void =>
        bar.update(first + count, `loss ${loss.toFixed(4)}`);
      const left = steps - state.losses.length;
      const losses = await trainer.run(left, { signal: run.signal, onProgress });
      state.losses = [...state.losses, ...losses];
      if (state.losses.length === steps) {
        const loss = state.losses.reduce((a, b) => a + b, 0) / steps;
        const epoch = ++epochs[task - 1]!;
        state.losses = [];
        record.event({ event: 'epoch', task, epoch, loss });
      }
      state.trained = await trainer.state();
      await state.checkpoint();
      record.check();
    }
  } finally {
    bar.done();
    trainer.dispose();
  }
}

async function keepModel(state: MnistState): Promise<void> {
  state.afterTask1 = await state.net.stateDict();
}

async function fitAligner(state: MnistState): Promise<void> {
  const { engine, config, run, record, curve, fit } = state;
  state.takeLatents();
  const { pairs, test } = state.latents!;
  const labels = state.sets.test1.hostLabels;
  const measured = (latents: typeof test.current) => accuracy(state.savedHead!, latents, labels);
  if (curve.length === 0) curve.push({ iteration: 0, accuracy: await measured(test.current) });
  const bar = run.progress('aligner', config.iterations, 'iterations', fit?.iteration ?? 0);
  try {
    state.aligner = await EnergyAligner.fit(engine, pairs, alignerOptions(config), {
      every: config.curveEvery,
      signal: run.signal,
      ...(fit === undefined ? {} : { resume: fit }),
      onProgress: async ({ iteration, loss, aligner, stopped }) => {
        if (!stopped) {
          const aligned = engine.tidy(() => aligner.align(test.current));
          const value = await measured(aligned);
          aligned.dispose();
          bar.update(iteration, `loss ${loss.toFixed(3)}, task 1 at ${value.toFixed(1)} %`);
          curve.push({ iteration, accuracy: value });
          record.event({ event: 'fit', iteration, loss, accuracy: value });
        }
        await state.checkpoint(aligner);
        record.check();
      },
    });
  } finally {
    bar.done();
  }
}

async function measure(state: MnistState): Promise<void> {
  const { engine, config, run, record, curve } = state;
  const { head1, head2 } = state.net;
  const aligner = state.aligner!;
  const savedHead = state.savedHead!;
  const { test } = state.latents!;
  const [labels1, labels2] = [state.sets.test1.hostLabels, state.sets.test2.hostLabels];
  const [aligned, secondAligned] = engine.tidy(() => [
    aligner.align(test.current),
    aligner.align(test.second),
  ]) as [typeof test.current, typeof test.current];
  try {
    state.metrics = {
      seed: config.seed,
      latent: config.latent,
      task1: await accuracy(savedHead, test.previous, labels1),
      task2: await accuracy(head2, test.second, labels2),
      unaligned: await accuracy(head1, test.current, labels1),
      unalignedSavedHead: await accuracy(savedHead, test.current, labels1),
      aligned: await accuracy(head1, aligned, labels1),
      alignedSavedHead: await accuracy(savedHead, aligned, labels1),
      task2Aligned: await accuracy(head2, secondAligned, labels2),
      curve,
    };
  } finally {
    aligned.dispose();
    secondAligned.dispose();
  }
  await writeJson(join(run.folder, 'metrics.json'), state.metrics);
  await aligner.save(join(run.folder, 'aligner.safetensors'));
  record.event({ event: 'metrics', ...state.metrics });
}

async function draw({ engine, run, record, metrics, aligner, latents, sets }: MnistState): Promise<void> {
  const { test } = latents!;
  const aligned = engine.tidy(() => aligner!.align(test.current));
  try {
    const all = { ...test, aligned };
    const labels = sets.test1.hostLabels;
    await saveMnistPictures(run.folder, metrics!, aligner!, all, labels, stoppable(run.progress, record));
  } finally {
    aligned.dispose();
  }
}

async function reportPolicies(state: MnistState): Promise<void> {
  const { config, run, record, sets } = state;
  const { seed, gateQuantile, statisticsQuantile } = config;
  const settings = { kind: run.report!, gateQuantile, statisticsQuantile };
  state.policies = run.resume ? await loadPolicies(run.folder, settings) : undefined;
  if (state.policies !== undefined) return;
  const bar = run.progress('policies', POLICY_STAGES[settings.kind], 'stages');
  let stages = 0;
  try {
    const measured = measurePolicies({
      ...settings,
      seed,
      sets,
      previous: state.previous!,
      oldHead: state.savedHead!,
      current: state.net.base,
      newHead: state.net.head2,
      aligner: state.aligner!,
      onStage: (stage) => {
        record.check();
        bar.update(stages++, stage);
      },
    });
    const report = await record.unlessStopped(measured);
    bar.update(stages);
    await savePolicies(run.folder, [report], settings, run.pictures ? { data: 'MNIST' } : undefined);
    state.policies = report;
  } finally {
    bar.done();
  }
}
