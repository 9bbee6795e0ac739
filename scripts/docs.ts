import { writeFileSync } from 'node:fs';
import { renderReference } from '../src/config/reference.ts';

/** `npm run docs`: writes what is generated from the source. A test fails when it is stale. */
writeFileSync(new URL('../docs/configuration.md', import.meta.url), renderReference());
process.stderr.write('docs/configuration.md is written\n');
