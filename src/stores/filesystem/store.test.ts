import { join } from 'node:path';
import { objectStoreConformance } from '../../testing/object-store-conformance.ts';
import { scratchFolder } from './scratch-folder.ts';
import { createFilesystemStore, type FilesystemSiteConfig, type FilesystemStoreOptions } from './store.ts';

/** The contract of every store, over folders of every kind that can be had here. */
const kinds: readonly (readonly [string, Omit<FilesystemSiteConfig, 'path'>, FilesystemStoreOptions])[] = [
  ['a folder', {}, {}],
  ['a folder under a prefix', { prefix: 'team-a/' }, {}],
  ['a folder whose directories are found by path', {}, { traits: { anchored: false } }],
  ['a folder with the names of Windows', {}, { traits: { windows: true } }],
  ['a folder on a disk that may fold names', {}, { traits: { folds: true } }],
];

for (const [name, config, options] of kinds) {
  objectStoreConformance(name, async () => {
    const folder = await scratchFolder();
    const store = createFilesystemStore({ ...config, path: folder.path }, options);
    return {
      store,
      anotherOn: async () => createFilesystemStore({ ...config, path: folder.path }, options),
      onAbsentBucket: async () => createFilesystemStore({ ...config, path: join(folder.path, 'absent') }),
      close: async () => {
        await store.close();
        await folder.remove();
      },
    };
  });
}
