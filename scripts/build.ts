import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type ChunkingContext, type Plugin, type RolldownOutput, rolldown } from 'rolldown';

const root = join(import.meta.dirname, '..');
const source = join(root, 'src');

/** What is published: the library as it is in `src`, and the command, bundled, in `cli`. `folder` is made anew. */
export async function build(folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['-p', join(root, 'tsconfig.build.json'), '--outDir', folder];
  execFileSync(process.execPath, [compiler, ...options], { stdio: 'inherit' });
  await bundleCommand(join(folder, 'cli'));
}

/** Native code, and what only some sites or the daemon need, stays where npm puts it. */
const external = [
  /^@aws-sdk\//,
  /^@azure\//,
  '@node-rs/crc32',
  'google-auth-library',
  'lmdb',
  'pino',
  'prom-client',
];

/**
 * The command in few files, with its libraries: to load its hundreds of modules one by one takes longer than a pass.
 * CommonJS, because an ES module that imports one of Node's own evaluates all that is in it, `process.stdin` included.
 */
async function bundleCommand(folder: string): Promise<void> {
  const bundle = await rolldown({
    input: join(source, 'cli', 'main.ts'),
    platform: 'node',
    external,
    preserveEntrySignatures: false,
    plugins: [lateBuiltins, ascii],
  });
  const output = await bundle.write({
    dir: folder,
    format: 'cjs',
    strict: true,
    dynamicImportInCjs: false,
    entryFileNames: '[name].cjs',
    chunkFileNames: '[name].cjs',
    comments: false,
    codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: chunkOf, debugName: 'work' }] },
  });
  await bundle.close();
  writeFileSync(join(folder, 'LICENSES.txt'), licensesOf(output));
}

/** Node's own modules are loaded at their first use: `--help`, say, never needs `node:crypto`, which takes 5 ms. */
const lateBuiltins: Plugin = {
  name: 'late-builtins',
  renderChunk(code) {
    const names: string[] = [];
    const declared = code.replace(
      /^let (node_\w+) = require\("(node:[\w/]+)"\);\n(?:\1 = (\S+)\(\1, 1\);\n)?/gm,
      (_, name: string, module: string, wrap?: string) => {
        names.push(name);
        const loaded = wrap === undefined ? `require("${module}")` : `${wrap}(require("${module}"), 1)`;
        return `let ${name}_late;\nconst ${name}_ = () => ${name}_late ??= ${loaded};\n`;
      },
    );
    return names.reduce(
      (text, name) => text.replaceAll(new RegExp(`\\b${name}\\b(?!\\$)`, 'g'), `${name}_()`),
      declared,
    );
  },
};

/** V8 keeps a file with one other character in two bytes each, and reads it slower. */
const ascii: Plugin = {
  name: 'ascii',
  generateBundle(_, bundle) {
    for (const file of Object.values(bundle)) {
      if (file.type === 'chunk') file.code = file.code.replace(/[^\0-\x7f]/g, escaped);
    }
  },
};

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** What every command that works needs, beyond what its help needs, is one file. */
function chunkOf(module: string, graph: ChunkingContext): string | null {
  const reach = (paths: readonly string[], found = new Set<string>()): Set<string> => {
    for (const path of paths) {
      if (found.has(path)) continue;
      found.add(path);
      reach(graph.getModuleInfo(path)?.importedIds ?? [], found);
    }
    return found;
  };
  const works = reach([join(source, 'cli', 'engine.ts'), join(source, 'config', 'load.ts')]);
  const helps = reach([join(source, 'cli', 'program.ts')]);
  return works.has(module) && !helps.has(module) ? 'work' : null;
}

/** Their authors ask that the licence goes with every copy. */
function licensesOf({ output }: RolldownOutput): string {
  const modules = output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []));
  const packages = new Set(
    modules.flatMap((module) => /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(module) ?? []),
  );
  return [...packages]
    .sort()
    .map(licenseOf)
    .join(`\n${'-'.repeat(80)}\n\n`);
}

function licenseOf(folder: string): string {
  const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined && license === undefined)
    throw new Error(`${name} does not say under which licence it is`);
  const text =
    file === undefined ? `${license}, by ${author}` : readFileSync(join(folder, file), 'utf8').trim();
  return `${name} ${version}\n\n${text}\n`;
}

/** `npm run build [-- FOLDER]` */
if (import.meta.main) await build(resolve(process.argv[2] ?? join(root, 'dist')));
