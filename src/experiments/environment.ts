import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import type { Values } from '../config.ts';
import type { ImageData } from '../data/image-set.ts';
import type { AdapterReport } from '../gpu/adapter.ts';

/** Where a run, or a part of it, was computed, and on which data. */
export interface Environment {
  readonly started: string;
  readonly host: string;
  readonly platform: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly adapter: Pick<AdapterReport, 'name' | 'vendor' | 'architecture' | 'driver' | 'software'>;
  readonly data: { readonly source: string; readonly sha256: Readonly<Record<string, string>> };
  /** Flags that are not config keys; a resume repeats them. */
  readonly options: Values;
}

/** The environment of this process. */
export function environmentOf(
  { name, vendor, architecture, driver, software }: AdapterReport,
  { source, train, test }: ImageData,
  options: Values,
): Environment {
  const require = createRequire(import.meta.url);
  const version = (file: string): string => (require(file) as { version: string }).version;
  const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  // The same digest whatever the width of the labels in memory.
  const wide = (labels: ArrayLike<number>) => new Uint8Array(Uint32Array.from(labels).buffer);
  return {
    started: new Date().toISOString(),
    host: hostname(),
    platform: `${process.platform} ${process.arch}`,
    versions: {
      'eli-webgpu': version('../../package.json'),
      node: process.versions.node,
      webgpu: version('webgpu/package.json'),
    },
    adapter: { name, vendor, architecture, driver, software },
    data: {
      source,
      sha256: {
        'training images': sha256(train.images),
        'training labels': sha256(wide(train.labels)),
        'test images': sha256(test.images),
        'test labels': sha256(wide(test.labels)),
      },
    },
    options,
  };
}
