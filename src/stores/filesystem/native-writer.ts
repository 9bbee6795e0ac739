/** For native-races.test.ts: another program that overwrites one file, in one of the usual ways, and knows no lock. */
import { readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';

const [path, way, rounds] = [process.argv[2]!, process.argv[3]!, Number(process.argv[4])];

function write(text: string): void {
  if (way === 'in-place') writeFileSync(path, text);
  else if (way === 'without-truncation') writeOver(text);
  else {
    writeFileSync(`${path}.draft`, text);
    if (way === 'delete-first') rmSync(path, { force: true });
    renameSync(`${path}.draft`, path);
  }
}

function writeOver(text: string): void {
  try {
    writeFileSync(path, text, { flag: 'r+' });
  } catch {
    writeFileSync(path, text);
  }
}

function current(): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Whether Isobar replaced what we wrote; if it is too slow, we overwrite our own text. */
function waitForIsobar(): boolean {
  const until = performance.now() + 200;
  while (performance.now() < until) if (current().startsWith('isobar')) return true;
  return false;
}

for (let round = 0; round < rounds; round++) {
  const text = `native ${String(round).padStart(6, '0')}`;
  write(text);
  writeSync(1, `${waitForIsobar() ? 'replaced' : 'abandoned'} ${text}\n`);
}
