import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EliError, nameOf } from '../errors.ts';
import { registerText } from '../wgsl/source.ts';

/**
 * The name by which the shader loader finds a kernel that is given as text, URL or path.
 * @throws EliError `ARGUMENT` for something else, or where the caller of a relative path is not a file
 */
export function kernelFile(kernel: { readonly code?: string; readonly file?: string | URL }): string {
  const { code, file } = kernel;
  if (typeof code === 'string') return registerText(code);
  if (file instanceof URL) return fileURLToPath(file);
  if (typeof file !== 'string') {
    throw new EliError('ARGUMENT', `engine.run: the kernel is ${nameOf(code ?? file ?? kernel)}`, {
      hint: 'give { code } with WGSL text, or { file } with a path or URL',
    });
  }
  return /^\.\.?\//.test(file) ? resolve(callerFolder(file), file) : file;
}

/** The folder of the file that called `engine.run`. */
function callerFolder(path: string): string {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.stackTraceLimit = 10;
    Error.prepareStackTrace = (_, sites) => sites.map((site) => site.getFileName());
    const files = new Error('where').stack as unknown as (string | null)[];
    // This function, kernelFile and engine.run are in the first files; the caller is in the next.
    const caller = files[3];
    if (typeof caller === 'string' && !caller.startsWith('node:')) {
      return dirname(caller.startsWith('file:') ? fileURLToPath(caller) : caller);
    }
  } finally {
    Error.prepareStackTrace = prepareStackTrace!;
    Error.stackTraceLimit = stackTraceLimit;
  }
  throw new EliError('ARGUMENT', `engine.run: ${path} is relative to a caller that is not a file`, {
    hint: 'give new URL(path, import.meta.url)',
  });
}
