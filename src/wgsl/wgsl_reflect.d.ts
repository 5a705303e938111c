// wgsl_reflect's entry for `import` is marked as CommonJS and fails in Node's ESM loader; the bundle does not.
declare module 'wgsl_reflect/wgsl_reflect.module.js' {
  export * from 'wgsl_reflect';
}
