/** For crash.test.ts: writes and removes for ever, and prints what was acknowledged. */
import { writeSync } from 'node:fs';
import { createFilesystemStore } from './store.ts';

const store = createFilesystemStore({ path: process.argv[2]! }, { graceMs: 20 });
const signal = new AbortController().signal;

async function work(key: string): Promise<void> {
  const found = await store.head(key, signal);
  let token = found?.token;
  const from = token === undefined ? Math.ceil(Date.now() / 10) * 10 : Number(found?.metadata.user.isobar);
  for (let version = from + 1; ; version++) {
    token =
      version % 10 === 0 && token !== undefined ? await take(key, token) : await give(key, version, token);
    writeSync(1, `${key} ${version}\n`);
  }
}

async function take(key: string, token: string): Promise<undefined> {
  const outcome = await store.remove(key, token, signal);
  if (outcome.kind === 'conflict') throw new Error(`conflict when removing ${key}`);
}

async function give(key: string, version: number, token: string | undefined): Promise<string> {
  const size = 100 + (version % 7) * 1000;
  const body = Buffer.from(`${version} ${size} `.padEnd(size, 'x'));
  const metadata = { user: { isobar: String(version) }, tags: {} };
  const condition = token === undefined ? { kind: 'absent' as const } : { kind: 'match' as const, token };
  const outcome = await store.write({ key, body, metadata, condition }, signal);
  if (outcome.kind === 'conflict') throw new Error(`conflict when writing ${key}`);
  return outcome.token;
}

writeSync(1, 'ready\n');
await Promise.all(['a', 'dir/b', 'dir/c', 'dir/deeper/d', 'odd//e', 'f', 'f/g'].map(work));
