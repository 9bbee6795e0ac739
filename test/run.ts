import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { describeAvailability, missingServers } from './servers/start.ts';

// `npm test [-- file …]`: every test, then a table of which suites ran against which real server.
// ISOBAR_TEST_SERVERS=all makes a missing server a failure.

interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface Report {
  readonly files: Readonly<Record<string, Tally>>;
  readonly failures: readonly {
    readonly file: string;
    readonly path: readonly string[];
    readonly error: string;
  }[];
}

interface Use {
  readonly file: string;
  readonly product: string;
  readonly version: string;
}

const root = join(import.meta.dirname, '..');
const out = (text: string) => process.stdout.write(`${text}\n`);

process.exitCode = await main(process.argv.slice(2));

async function main(wanted: readonly string[]): Promise<number> {
  const files = wanted.length > 0 ? wanted : await testFiles();
  const missing = missingServers();
  const demanded = process.env['ISOBAR_TEST_SERVERS'] === 'all';
  if (demanded && missing.length > 0) {
    out(`missing servers: ${missing.join(', ')}; get them with: npm run servers`);
    out(describeAvailability());
    return 1;
  }
  const folder = mkdtempSync(join(tmpdir(), 'isobar-test-'));
  try {
    const code = await runTests(files, folder);
    const report = readFileSync(join(folder, 'tally.json'), 'utf8');
    if (report === '') throw new Error(`the test runner ended early (${code})`);
    const { files: tallies, failures } = JSON.parse(report) as Report;
    for (const { file, path, error } of failures)
      out(`\nFAILED ${relative(root, file)}: ${path.join(' › ')}\n${error}`);
    printTable(tallies, usesIn(join(folder, 'servers.ndjson')), missing);
    return typeof code === 'number' ? code : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function testFiles(): Promise<string[]> {
  const files: string[] = [];
  for (const pattern of ['src/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts']) {
    for await (const file of glob(pattern, { cwd: root })) files.push(file);
  }
  return files.sort();
}

function runTests(files: readonly string[], folder: string): Promise<number | string> {
  const servers = join(folder, 'servers.ndjson');
  writeFileSync(servers, '');
  const reporters = [
    '--test-reporter=dot',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(root, 'test', 'tally-reporter.ts')}`,
    `--test-reporter-destination=${join(folder, 'tally.json')}`,
  ];
  const args = ['--test', '--test-concurrency=2', '--test-timeout=600000', ...reporters, ...files];
  const env = { ...process.env, ISOBAR_TEST_SERVERS_LOG: servers };
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: 'inherit' });
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => child.kill(name));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? signal ?? 1));
  });
}

function usesIn(file: string): Use[] {
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Use);
}

/** A server that we wrote proves nothing of the cloud that it stands for, unless one of others agrees with it. */
function whereShown(products: readonly string[]): string {
  const isOf = (names: readonly string[]) => (product: string) => names.includes(product.split(' ')[0]!);
  if (products.length === 0) return 'NOT SHOWN ON A REAL SERVER';
  const ours =
    products.some(isOf(['gcs-memory'])) && !products.some(isOf(['fake-gcs-server', 'gcsemulator']));
  return `${products.join(', ')}${ours ? '; GCS NOT SHOWN ON A REAL SERVER (gcs-memory is ours)' : ''}`;
}

function printTable(
  tallies: Readonly<Record<string, Tally>>,
  uses: readonly Use[],
  missing: readonly string[],
): void {
  const live = Object.entries(tallies).filter(([file]) => file.endsWith('.live.test.ts'));
  out('\nSuites against real servers');
  for (const [file, { passed, failed, skipped }] of live) {
    const products = new Set(
      uses
        .filter((use) => basename(use.file) === basename(file))
        .map(({ product, version }) => `${product} ${version}`.trim()),
    );
    const where = whereShown([...products]);
    out(
      `  ${relative(root, file).padEnd(44)} ${passed} passed, ${failed} failed, ${skipped} skipped: ${where}`,
    );
  }
  out('\nServers');
  out(describeAvailability().replaceAll(/^/gm, '  '));
  if (missing.length > 0) out(`\nmissing: ${missing.join(', ')}; get them with: npm run servers`);
  const sum = (field: keyof Tally) => Object.values(tallies).reduce((all, one) => all + one[field], 0);
  out(`\n${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
}
