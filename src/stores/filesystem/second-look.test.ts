import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ObjectStore } from '../../ports/object-store.ts';
import { never, put, scratchFolder, textAt } from './scratch-folder.ts';
import { createFilesystemStore } from './store.ts';
import { watchedCalls } from './watched-calls.ts';

// A replacement begins right before a reader looks for the name, and ends right before it looks for what stands aside.

const readers: Record<string, (store: ObjectStore) => Promise<string | undefined>> = {
  head: async (store) => (await store.head('k', never)) && 'found',
  read: async (store) => (await textAt(store, 'k')) && 'found',
};

describe('a reader that looked in the moment of a replacement looks again', () => {
  for (const [verb, find] of Object.entries(readers)) {
    test(verb, async () => {
      const folder = await scratchFolder();
      const named = join(folder.path, 'k');
      const unnamed = join(folder.path, '.isobar', 'unnamed');
      let moment: 'before' | 'in' | 'over' = 'over';
      const calls = watchedCalls(({ name, args: [path] }) => {
        if (name !== 'lstat') return;
        if (moment === 'before' && String(path).endsWith('/k')) {
          renameSync(named, unnamed);
          moment = 'in';
        } else if (moment === 'in' && String(path).includes('/aside/')) {
          renameSync(unnamed, named);
          moment = 'over';
        }
      });
      const store = createFilesystemStore({ path: folder.path }, { calls });
      try {
        await put(store, 'k', 'body');
        moment = 'before';
        assert.equal(await find(store), 'found');
        assert.equal(moment, 'over', 'the reader came into that moment');
      } finally {
        await store.close();
        await folder.remove();
      }
    });
  }
});
