import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const siteNames = ['aws', 'gcp', 'azure'] as const;
export type SiteName = (typeof siteNames)[number];
export const datasetName = 'files';

const configuration = `# Made by \`npm run demo\`. Three folders play the three clouds; a real one is a site such as
#   aws: { kind: s3, bucket: my-bucket, region: eu-central-1 }
sites:
  aws:   { kind: filesystem, path: aws }
  gcp:   { kind: filesystem, path: gcp }
  azure: { kind: filesystem, path: azure }
datasets:
  ${datasetName}:
    sites: [aws, gcp, azure]
    scan: { every: 400ms }   # short, so that the demo is; the default is 5m
state: .isobar-state         # the embedded bus and ledger
log: { level: warn }
`;

/** Where everything of one demo lies: a fresh folder that nobody else uses. */
export interface Places {
  readonly root: string;
  readonly configFile: string;
  readonly folderOf: (site: SiteName) => string;
}

export async function makePlaces(): Promise<Places> {
  const root = await mkdtemp(join(tmpdir(), 'isobar-demo-'));
  const folderOf = (site: SiteName): string => join(root, site);
  for (const site of siteNames) await mkdir(folderOf(site));
  const configFile = join(root, 'isobar.yaml');
  await writeFile(configFile, configuration);
  return { root, configFile, folderOf };
}
