import type { SiteConfig } from '../config/sites.ts';
import type { DriverStore } from '../ports/object-store.ts';

type Open<K extends SiteConfig['kind']> = (
  config: Extract<SiteConfig, { kind: K }>,
  notice: (text: string) => void,
) => Promise<DriverStore>;

/** One line per driver, loaded when a site needs it: an SDK that nobody uses costs nothing. */
const drivers: { readonly [K in SiteConfig['kind']]: Open<K> } = {
  s3: async (config) => {
    const { createS3Store } = await import('../stores/s3/store.ts');
    return createS3Store(revealed(config));
  },
  gcs: async (config) => {
    const { createGcsStore } = await import('../stores/gcs/gcs-store.ts');
    return createGcsStore(revealed(config));
  },
  azure: async (config) => {
    const { createAzureStore } = await import('../stores/azure/store.ts');
    return createAzureStore(revealed(config));
  },
  filesystem: async (config, notice) => {
    const { createFilesystemStore } = await import('../stores/filesystem/store.ts');
    return createFilesystemStore(revealed(config), {
      onSkipped: ({ path, because }) => notice(`${path} is not replicated: ${because}`),
      onKept: ({ path, because }) => notice(`another program's write was kept as ${path}: ${because}`),
    });
  },
};

/** `notice` is told what the store leaves alone or keeps aside, for people. */
export function openStore(
  config: SiteConfig,
  notice: (text: string) => void = () => {},
): Promise<DriverStore> {
  const open = drivers[config.kind] as Open<SiteConfig['kind']>;
  return open(config, notice);
}

interface Hidden {
  reveal(): string;
}

type Revealed<T> = {
  [K in keyof T]: T[K] extends Hidden | undefined
    ? Exclude<T[K], Hidden> | (T[K] extends undefined ? never : string)
    : T[K];
};

/** Secrets leave their wrapping only here, on the way into a driver. */
function revealed<T extends object>(config: T): Revealed<T> {
  const entries = Object.entries(config).map(([name, value]) => [
    name,
    isHidden(value) ? value.reveal() : value,
  ]);
  return Object.fromEntries(entries) as Revealed<T>;
}

function isHidden(value: unknown): value is Hidden {
  return typeof value === 'object' && value !== null && 'reveal' in value;
}
