import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { EliError } from '../errors.ts';
import { getOrInsert } from '../maps.ts';
import { shaderText } from './library.ts';

/** An assembled shader, and for each of its lines the file and line it came from. */
export interface ShaderSource {
  readonly file: string;
  readonly code: string;
  readonly origin: readonly { readonly file: string; readonly line: number }[];
  /**
   * WGSL declarations of all bindings and of the types they name, where the reflection library cannot read those of
   * `code`: `@group(0) @binding(0) var<storage, read_write> y: array<f32>;`
   */
  readonly bindings?: string;
}

/**
 * Values for `const` declarations where WGSL does not allow an `override` (lengths of private arrays), and types for
 * `alias` declarations (the types in which a kernel stores data or computes).
 */
export type Consts = Readonly<
  Record<string, number | 'f16' | 'f32' | 'i32' | 'u32' | 'vec2f' | 'vec4f' | 'vec4u'>
>;

const INCLUDE = /^\/\/!include\s+(\S+)\s*$/;
const cache = new Map<string, ShaderSource>();

/**
 * Loads `shaders/<file>` and inserts the files it names with `//!include lib/x.wgsl`, each at most once. `consts`
 * replaces values of `const NAME: type = value;` and types of `alias NAME = type;` lines; the file as written is the
 * default variant. `file` may also be an absolute path; such a file may include `./x.wgsl` next to it.
 * @throws EliError `WGSL` for a missing file or include, or a const or alias that the file does not declare.
 */
export function loadShader(file: string, consts: Consts = {}): ShaderSource {
  const key = `${file}|${JSON.stringify(consts)}`;
  return getOrInsert(cache, key, () => replaceConsts(assemble(file), consts));
}

/** Texts of `registerText` by their names, and the other way round. */
const texts = new Map<string, string>();
const names = new Map<string, string>();

/** The name under which `loadShader` finds a text; the same text always has the same. */
export function registerText(code: string): string {
  return getOrInsert(names, code, () => {
    const name = `text-${names.size + 1}.wgsl`;
    texts.set(name, code);
    return name;
  });
}

/** Has every shader read from its file again. */
export function forgetShaders(): void {
  cache.clear();
}

function assemble(file: string): ShaderSource {
  const lines: string[] = [];
  const origin: { file: string; line: number }[] = [];
  const seen = new Set<string>();
  const visit = (name: string, from: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const code = texts.get(name) ?? (isAbsolute(name) ? ownText(name) : shaderText(name));
    if (code === undefined) {
      throw new EliError(
        'WGSL',
        `shader file ${name} not found${from === '' ? '' : `, included by ${from}`}`,
        isAbsolute(name) ? {} : { hint: 'paths are relative to the shaders/ folder of the package' },
      );
    }
    for (const [index, text] of code.split('\n').entries()) {
      const included = INCLUDE.exec(text)?.[1];
      if (included === undefined) {
        lines.push(text);
        origin.push({ file: name, line: index + 1 });
      } else {
        const beside = /^\.\.?\//.test(included) && isAbsolute(name);
        visit(beside ? resolve(dirname(name), included) : included, `${name}:${index + 1}`);
      }
    }
  };
  visit(file, '');
  return { file, code: lines.join('\n'), origin };
}

/** The text of a shader file outside the package. */
function ownText(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

function replaceConsts(source: ShaderSource, consts: Consts): ShaderSource {
  let code = source.code;
  for (const [name, value] of Object.entries(consts)) {
    const isType = typeof value === 'string';
    const declaration = isType
      ? new RegExp(`^(alias ${name}\\s*=\\s*)(\\w+);`, 'm')
      : new RegExp(`^(const ${name}\\s*:\\s*(u32|i32|f32)\\s*=\\s*)[^;]+;`, 'm');
    const match = declaration.exec(code);
    if (match === null) {
      const missing = isType ? `alias ${name} = type;` : `const ${name}: type = value;`;
      throw new EliError('WGSL', `${source.file} declares no "${missing}" to set to ${value}`);
    }
    const suffix = isType ? '' : match[2] === 'u32' ? 'u' : match[2] === 'i32' ? 'i' : 'f';
    code = code.replace(declaration, `${match[1]}${value}${suffix};`);
  }
  // On the first line, so that line numbers stay the same.
  if (Object.values(consts).includes('f16')) code = `enable f16; ${code}`;
  return { ...source, code };
}

/** The shader file and line that line `line` (from 1) of the assembled text came from. */
export function originOf(source: ShaderSource, line: number): string {
  const place = source.origin[line - 1];
  return place === undefined ? `${source.file}:${line}` : `${place.file}:${place.line}`;
}
