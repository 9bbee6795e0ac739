/** Every version in one place. Raise one here, run `npm run servers` and `node test/servers/probe.ts`. */

export interface GoProgram {
  readonly version: string;
  /** What `go install` is given, without the version. */
  readonly package: string;
}

export const goPrograms = {
  versitygw: { version: 'v1.8.0', package: 'github.com/versity/versitygw/cmd/versitygw' },
  'fake-gcs-server': { version: 'v1.56.1', package: 'github.com/fsouza/fake-gcs-server' },
  gcsemulator: {
    version: 'v0.0.0-20240401123056-edc69752f474',
    package: 'github.com/fullstorydev/emulators/storage/cmd/gcsemulator',
  },
  minio: { version: 'v0.0.0-20260212201848-7aac2a2c5b7c', package: 'github.com/minio/minio' },
  rclone: { version: 'v1.76.0', package: 'github.com/rclone/rclone' },
} as const satisfies Record<string, GoProgram>;

/** Of Python packages, with everything they need: pip is told to resolve nothing. Needs Python 3.10. */
export const pythonPrograms = {
  ministack: {
    version: '1.5.33',
    packages: [
      'ministack==1.5.33',
      'botocore==1.43.106',
      'defusedxml==0.7.1',
      'graphql-core==3.2.12',
      'h11==0.16.0',
      'h2==4.4.1',
      'hpack==4.2.0',
      'Hypercorn==0.18.0',
      'hyperframe==6.1.0',
      'jmespath==1.1.0',
      'jsonata-python==0.7.1',
      'priority==2.0.0',
      'python-dateutil==2.9.0.post0',
      'PyYAML==6.0.3',
      'six==1.17.0',
      'urllib3==2.8.0',
      'wsproto==1.3.2',
    ],
  },
} as const;

/** The oldest that builds them all. */
export const requiredGo = '1.26';

export type GoProgramName = keyof typeof goPrograms;
export type PythonProgramName = keyof typeof pythonPrograms;
export type ProgramName = GoProgramName | PythonProgramName;

export function versionOf(name: ProgramName): string {
  return { ...goPrograms, ...pythonPrograms }[name].version;
}
