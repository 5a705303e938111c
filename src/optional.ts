import { EliError } from './errors.ts';

/**
 * What parts of this package need beside it, at the major versions they are tested with: peers that are optional, so that
 * whoever wants the engine alone installs the engine alone, beside any version of them that an app has for itself.
 */
const PARTS = {
  'tables for the terminal': ['cli-table3@0.6'],
  pictures: ['vega@6', 'vega-lite@6', '@resvg/resvg-js@2', 'dejavu-fonts-ttf@2'],
  animations: ['gifenc@1', 'vega@6', 'vega-lite@6', '@resvg/resvg-js@2', 'dejavu-fonts-ttf@2'],
  't-SNE': ['@saehrimnir/druidjs@0.9'],
  benchmarks: ['tinybench@6'],
  '.npz files': ['yauzl@3', 'crc-32@1'],
} as const;

/**
 * Reports that packages of a part could not be loaded: `await import('vega').catch(notInstalled('pictures'))`. In this form
 * bundlers accept that the package is missing.
 */
export function notInstalled(part: keyof typeof PARTS): (cause: unknown) => never {
  return (cause) => {
    // Bundlers and loaders have errors of their own for a missing package: all of them name it.
    const reason = String((cause as Error)?.message ?? cause).split('\n')[0];
    throw new EliError('NOT_INSTALLED', `a package for ${part} cannot be loaded: ${reason}`, {
      hint: `npm install ${PARTS[part].join(' ')}`,
      cause,
    });
  };
}
