import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { blind } from './blind.ts';
import { type Mutation, mutations } from './list.ts';

// Breaks the code in named ways, each in a copy of its own, and fails unless the simulation finds every one.

/** More than any of them has needed, by an order of magnitude. */
const mostSeeds = 3_000;
const root = join(import.meta.dirname, '../..');

async function main(): Promise<number> {
  const wanted = process.argv.slice(2);
  const chosen = [...mutations, ...blind].filter(
    ({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
  );
  let missed = 0;
  for (const mutation of chosen) {
    const found = await simulated(mutation);
    if (found === undefined) missed += 1;
    process.stdout.write(
      `${found === undefined ? 'MISSED' : 'caught'}  ${mutation.name}${found ? `\n        ${found}` : ''}\n`,
    );
  }
  process.stdout.write(`${chosen.length - missed} of ${chosen.length} mutations caught\n`);
  return missed > 0 || chosen.length === 0 ? 1 : 0;
}

/** What the simulation said when it found it; undefined when it did not. */
async function simulated(mutation: Mutation): Promise<string | undefined> {
  const copy = mkdtempSync(join(tmpdir(), 'isobar-mutation-'));
  try {
    cpSync(join(root, 'src'), join(copy, 'src'), { recursive: true });
    cpSync(join(root, 'package.json'), join(copy, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    mutate(join(copy, mutation.file), mutation);
    const said = await run(copy);
    return /^seed \d+: .*$/m.exec(said)?.[0];
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function mutate(path: string, { name, find, replace }: Mutation): void {
  const text = readFileSync(path, 'utf8');
  if (text.split(find).length !== 2)
    throw new Error(`"${name}": the code to break does not stand once in ${path}`);
  writeFileSync(
    path,
    text.replace(find, () => replace),
  );
}

function run(folder: string): Promise<string> {
  const args = ['src/testing/simulation/main.ts', '--seeds', String(mostSeeds), '--first'];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: folder, maxBuffer: 2 ** 26 }, (failure, stdout, stderr) => {
      if (failure && !stdout.includes('histories checked'))
        reject(new Error(`the mutant did not run: ${stderr}`));
      else resolve(stdout);
    });
  });
}

process.exitCode = await main();
