import type { SiteConfig } from '../config/sites.ts';

/** What credentials must be allowed to do at a site; each is granted apart somewhere. */
export type Deed =
  | 'list'
  | 'write'
  | 'read'
  | 'tag'
  | 'read-tags'
  | 'list-uploads'
  | 'abort-upload'
  | 'delete';

type Names = Readonly<Record<Deed, string>>;

const sas = (letters: string) => `${letters} in the SAS, or the role "Storage Blob Data Contributor"`;
const sasOfTags = 't in the SAS, or the role "Storage Blob Data Owner"';
const [readFolder, writeFolder] = ['read', 'write'].map(
  (verb) => `permission to ${verb} in the folder, for the user that runs Isobar`,
) as [string, string];

/** In the words of each kind of site; docs/permissions.md lists the same. */
const names: Readonly<Record<SiteConfig['kind'], Names>> = {
  s3: {
    list: 's3:ListBucket',
    write: 's3:PutObject',
    read: 's3:GetObject',
    tag: 's3:PutObjectTagging',
    'read-tags': 's3:GetObjectTagging (in a versioned bucket also s3:GetObjectVersionTagging)',
    'list-uploads': 's3:ListBucketMultipartUploads',
    'abort-upload': 's3:AbortMultipartUpload',
    delete: 's3:DeleteObject',
  },
  gcs: {
    list: 'storage.objects.list',
    write: 'storage.objects.create',
    read: 'storage.objects.get',
    tag: 'storage.objects.create',
    'read-tags': 'storage.objects.get',
    'list-uploads': 'storage.objects.list',
    'abort-upload': 'storage.objects.delete',
    delete: 'storage.objects.delete',
  },
  azure: {
    list: sas('l (list)'),
    write: sas('c (create) and w (write)'),
    read: sas('r (read)'),
    tag: sasOfTags,
    'read-tags': sasOfTags,
    'list-uploads': sas('l (list)'),
    'abort-upload': sas('d (delete)'),
    delete: sas('d (delete)'),
  },
  filesystem: {
    list: readFolder,
    write: writeFolder,
    read: readFolder,
    tag: writeFolder,
    'read-tags': readFolder,
    'list-uploads': readFolder,
    'abort-upload': writeFolder,
    delete: writeFolder,
  },
};

/** What mends a refusal. Whoever may list has the right credentials. */
export function remedyOfRefusal(kind: SiteConfig['kind'], deed: Deed): string {
  const needed = `${names[kind][deed]}; docs/permissions.md lists all that is needed`;
  return deed === 'list'
    ? `check the credentials; if they are the right ones, they lack ${needed}`
    : `give the credentials ${needed}`;
}
