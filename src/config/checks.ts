import { addressText, excludeEachOther, nextFree } from './addresses.ts';
import { checkConflicts } from './conflicts.ts';
import type { ConfigDocument } from './document.ts';
import { folderInSite, type Location, locationsOf, overlap } from './locations.ts';
import { closest } from './problems.ts';
import type { DatasetConfig, SourceConfig } from './schema.ts';
import type { SiteConfig } from './sites.ts';
import type { Address } from './values.ts';

/** What could be understood of the file; parts with errors of their own are left out. */
export interface Understood {
  readonly sites: ReadonlyMap<string, SiteConfig>;
  /** Of every site that the file names, understood or not. */
  readonly siteNames: readonly string[];
  readonly datasets: ReadonlyMap<string, DatasetConfig>;
  readonly sources: ReadonlyMap<string, SourceConfig>;
  /** Absolute. */
  readonly state: string | undefined;
  readonly listen: Address | undefined;
}

/** What a schema cannot say: how the parts of the file fit together. */
export function checkWhole(understood: Understood, document: ConfigDocument): void {
  for (const [name, site] of understood.sites) checkCredentials(name, site, document);
  checkOverlaps(understood, document);
  checkState(understood, document);
  for (const [name, dataset] of understood.datasets) checkDataset(name, dataset, understood, document);
  checkSharing(understood, document);
  checkSources(understood, document);
}

function checkCredentials(name: string, site: SiteConfig, document: ConfigDocument): void {
  const path = ['sites', name];
  const needs = (field: string, because: string): void =>
    document.report(path, `\`sites.${name}\` needs \`${field}\`${because}`, { at: 'name' });
  const excess = (field: string, because: string): void =>
    document.report([...path, field], `\`sites.${name}.${field}\` ${because}`, { at: 'name' });
  if (site.kind === 's3') {
    if (site.region === '') needs('region', ' at Amazon, such as `region: eu-central-1`');
    if (site.accessKeyId !== undefined && site.secretAccessKey === undefined)
      needs('secretAccessKey', ' beside `accessKeyId`');
    if (site.accessKeyId === undefined && site.secretAccessKey !== undefined)
      needs('accessKeyId', ' beside `secretAccessKey`');
    if (site.sessionToken !== undefined && site.accessKeyId === undefined)
      needs('accessKeyId', ' beside `sessionToken`');
  } else if (site.kind === 'gcs') {
    if (site.anonymous && site.keyFile !== undefined) excess('keyFile', 'has no use with `anonymous: true`');
  } else if (site.kind === 'azure') {
    checkAzure(site, needs, excess);
  }
}

function checkAzure(
  site: Extract<SiteConfig, { kind: 'azure' }>,
  needs: (field: string, because: string) => void,
  excess: (field: string, because: string) => void,
): void {
  if (site.connectionString !== undefined) {
    for (const field of ['account', 'accountKey', 'sas'] as const) {
      if (site[field] !== undefined) excess(field, 'is already in `connectionString`; keep one of the two');
    }
    return;
  }
  if (site.accountKey !== undefined && site.sas !== undefined)
    excess('sas', 'and `accountKey` exclude each other; keep one');
  if (site.account !== undefined) return;
  if (site.accountKey !== undefined) needs('account', ' beside `accountKey`');
  else if (site.endpoint === undefined) needs('account', ', `endpoint` or `connectionString`');
}

function checkOverlaps(understood: Understood, document: ConfigDocument): void {
  const seen: { name: string; locations: readonly Location[] }[] = [];
  for (const [name, site] of understood.sites) {
    const locations = locationsOf(site);
    const other = seen.find((one) => overlap(one.locations, locations));
    if (other !== undefined) {
      const what = site.kind === 'filesystem' ? 'folder' : site.kind === 'azure' ? 'container' : 'bucket';
      document.report(
        ['sites', name],
        `the sites \`${other.name}\` and \`${name}\` are the same ${what}, or one lies in the other`,
        {
          hint: `a copy of itself protects nothing: choose another ${what}, or prefixes of which none begins with the other`,
          at: 'name',
        },
      );
    }
    seen.push({ name, locations });
  }
}

function checkState(understood: Understood, document: ConfigDocument): void {
  const { state } = understood;
  if (state === undefined) return;
  for (const [name, site] of understood.sites) {
    if (!folderInSite(state, site)) continue;
    document.report(
      ['state'],
      `the state folder lies in the folder of the site \`${name}\`, and would be replicated`,
      {
        hint: 'give `state` a folder outside of every site',
        at: 'value',
      },
    );
  }
}

function checkDataset(
  name: string,
  dataset: DatasetConfig,
  understood: Understood,
  document: ConfigDocument,
): void {
  const path = ['datasets', name, 'sites'];
  for (const [index, site] of dataset.sites.entries()) {
    if (!understood.siteNames.includes(site)) {
      reportUnknownSite([...path, index], site, understood.siteNames, document);
    } else if (dataset.sites.indexOf(site) !== index) {
      document.report([...path, index], `the site \`${site}\` stands twice in \`${path.join('.')}\``);
    }
  }
  if (dataset.sites.length < 2) {
    document.report(
      path,
      `the dataset \`${name}\` has ${dataset.sites.length} site; to replicate it needs at least two`,
      {
        hint: 'add another site',
        at: 'name',
      },
    );
  }
  checkConflicts(['datasets', name, 'conflicts'], dataset.conflicts, dataset.sites, document);
  const acks = dataset.write.kind === 'sync' ? dataset.write.acks : undefined;
  if (typeof acks === 'number' && acks > dataset.sites.length) {
    document.report(
      ['datasets', name, 'write', 'sync', 'acks'],
      `\`datasets.${name}.write.sync.acks\` is ${acks}, but the dataset has ${dataset.sites.length} sites: no write could ever succeed`,
      { hint: `use at most ${dataset.sites.length}, or \`majority\`` },
    );
  }
}

function reportUnknownSite(
  path: readonly (string | number)[],
  site: string,
  names: readonly string[],
  document: ConfigDocument,
): void {
  const similar = closest(site, names);
  const meant = similar === undefined ? '' : `did you mean \`${similar}\`? `;
  document.report(path, `there is no site \`${site}\``, {
    hint: `${meant}the sites are ${names.join(', ') || '(none)'}`,
  });
}

/** Two datasets over one site would both adopt every key there, each with versions of its own. */
function checkSharing(understood: Understood, document: ConfigDocument): void {
  const owner = new Map<string, string>();
  for (const [name, dataset] of understood.datasets) {
    for (const [index, site] of dataset.sites.entries()) {
      const other = owner.get(site);
      if (other !== undefined && other !== name) {
        document.report(
          ['datasets', name, 'sites', index],
          `the site \`${site}\` already belongs to the dataset \`${other}\``,
          {
            hint: 'declare a site of its own for each dataset: the same bucket with another `prefix`',
          },
        );
      }
      owner.set(site, other ?? name);
    }
  }
}

function checkSources(understood: Understood, document: ConfigDocument): void {
  for (const [name, source] of understood.sources) {
    const path = ['sources', name];
    const kind = understood.sites.get(name)?.kind;
    if (!understood.siteNames.includes(name)) reportUnknownSite(path, name, understood.siteNames, document);
    else if (kind !== undefined && kind !== 's3') {
      document.report(
        [...path, 'kind'],
        `\`${path.join('.')}\` takes notifications of an s3 site, but \`${name}\` is ${kind}`,
      );
    }
    checkListen(name, source, understood, document);
  }
}

/** Each source has a server of its own. */
function checkListen(
  name: string,
  { listen }: SourceConfig,
  { sources, listen: own }: Understood,
  document: ConfigDocument,
): void {
  const others = [...sources].slice(0, [...sources.keys()].indexOf(name));
  const twin = others.find(([, other]) => excludeEachOther(other.listen, listen));
  const user = own && excludeEachOther(own, listen) ? 'listen' : twin && `sources.${twin[0]}`;
  if (user === undefined) return;
  const taken = [...sources.values()].map((one) => one.listen);
  const free = nextFree(listen, own ? [...taken, own] : taken);
  document.report(['sources', name, 'listen'], `\`${user}\` already uses ${addressText(listen)}`, {
    hint: `give this source a port of its own: \`listen: "${addressText(free)}"\``,
  });
}
