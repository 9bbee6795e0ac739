import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

interface FileTally {
  passed: number;
  failed: number;
  skipped: number;
}

/** Counts tests per file and ends with one line of JSON: for the table at the end of `npm test`. */
export default async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files: Record<string, FileTally> = {};
  const failures: { file: string; name: string; error: string }[] = [];
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { file = '', details, skip, todo } = event.data;
    if (details.type === 'suite') continue;
    files[file] ??= { passed: 0, failed: 0, skipped: 0 };
    const counts = files[file];
    if (event.type === 'test:fail') {
      counts.failed += 1;
      failures.push({
        file,
        name: event.data.name,
        error: 'error' in details ? inspect(details.error.cause ?? details.error) : '',
      });
    } else if (skip !== undefined || todo !== undefined) counts.skipped += 1;
    else counts.passed += 1;
  }
  yield `${JSON.stringify({ files, failures })}\n`;
}
