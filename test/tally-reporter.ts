import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Counts tests per file and ends with one line of JSON: for the table at the end of `npm test`. The runner reports
 * file by file in order; a test of a shared suite names the file of the suite, so it counts for the file whose
 * outermost test ends next.
 */
export default async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files: Record<string, Tally> = {};
  const failures: { path: string[]; file: string; error: string }[] = [];
  const path: string[] = [];
  let inner: Tally = { passed: 0, failed: 0, skipped: 0 };
  let unplaced = 0;
  for await (const event of source) {
    if (event.type === 'test:start') {
      path.length = event.data.nesting;
      path.push(event.data.name);
    }
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { file = '', details, skip, todo, nesting } = event.data;
    if (details.type !== 'suite') {
      if (event.type === 'test:fail') {
        inner.failed += 1;
        const error = 'error' in details ? inspect(details.error.cause ?? details.error) : '';
        failures.push({ path: [...path.slice(0, nesting), event.data.name], file: '', error });
      } else if (skip !== undefined || todo !== undefined) inner.skipped += 1;
      else inner.passed += 1;
    }
    if (nesting > 0) continue;
    files[file] ??= { passed: 0, failed: 0, skipped: 0 };
    const counts = files[file];
    for (const field of ['passed', 'failed', 'skipped'] as const) counts[field] += inner[field];
    inner = { passed: 0, failed: 0, skipped: 0 };
    for (; unplaced < failures.length; unplaced++) failures[unplaced]!.file = file;
  }
  yield `${JSON.stringify({ files, failures })}\n`;
}
