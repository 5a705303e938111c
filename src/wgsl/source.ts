import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EliError } from '../errors.ts';

/** A shader as one text, and for each of its lines the file and line it came from. */
export interface ShaderSource {
  readonly file: string;
  readonly code: string;
  readonly origin: readonly { readonly file: string; readonly line: number }[];
}

/**
 * Values for `const` declarations that WGSL does not allow an `override` for (lengths of private arrays), and types for
 * `alias` declarations (in which a kernel stores its data and computes).
 */
export type Consts = Readonly<Record<string, number | AliasType>>;

/** Types that an `alias` declaration of a shader may be given instead of the one it has. */
export type AliasType = 'f16' | 'f32' | 'i32' | 'u32' | 'vec2f' | 'vec4f' | 'vec4u';

const SHADER_ROOT = new URL('../../shaders/', import.meta.url);
const INCLUDE = /^\/\/!include\s+(\S+)\s*$/;
const cache = new Map<string, ShaderSource>();

/**
 * Loads `shaders/<file>` and puts the files it names with `//!include lib/x.wgsl` in place, each at most once.
 * `consts` replaces the value of `const NAME: type = value;` lines of the file, or the type of its `alias NAME = type;`
 * lines: the file as written is valid and is the default variant. Absolute paths are read as they are (a kernel of
 * your own); such a file may also include `./x.wgsl` that lies beside it.
 * @throws EliError `WGSL` for a missing file or include, or a const or alias that the file does not declare.
 */
export function loadShader(file: string, consts: Consts = {}): ShaderSource {
  const key = `${file}|${JSON.stringify(consts)}`;
  let source = cache.get(key);
  if (source === undefined) {
    source = replaceConsts(assemble(file), consts);
    cache.set(key, source);
  }
  return source;
}

function assemble(file: string): ShaderSource {
  const lines: string[] = [];
  const origin: { file: string; line: number }[] = [];
  const seen = new Set<string>();
  const visit = (name: string, from: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const path = isAbsolute(name) ? name : fileURLToPath(new URL(name, SHADER_ROOT));
    if (!existsSync(path)) {
      throw new EliError(
        'WGSL',
        `shader file ${name} not found${from === '' ? '' : `, included by ${from}`}`,
        isAbsolute(name) ? {} : { hint: 'paths are relative to the shaders/ folder of the package' },
      );
    }
    readFileSync(path, 'utf8')
      .split('\n')
      .forEach((text, index) => {
        const include = INCLUDE.exec(text);
        if (include !== null) {
          const included = include[1]!;
          const beside = /^\.\.?\//.test(included) && isAbsolute(name);
          visit(beside ? resolve(dirname(name), included) : included, `${name}:${index + 1}`);
          return;
        }
        lines.push(text);
        origin.push({ file: name, line: index + 1 });
      });
  };
  visit(file, '');
  return { file, code: lines.join('\n'), origin };
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
  // On the first line, so that lines keep their numbers.
  if (Object.values(consts).includes('f16')) code = `enable f16; ${code}`;
  return { ...source, code };
}

/** Where line `line` (from 1) of the assembled text stands in the shader files. */
export function originOf(source: ShaderSource, line: number): string {
  const place = source.origin[line - 1];
  return place === undefined ? `${source.file}:${line}` : `${place.file}:${place.line}`;
}
