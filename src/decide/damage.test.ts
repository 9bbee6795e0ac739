import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DamageRule } from '../model/damage-rule.ts';
import { Random } from '../testing/simulation/random.ts';
import {
  afterHappening,
  type DamageState,
  type Happening,
  judgeDamage,
  newDamageState,
  released,
} from './damage.ts';
import { entropyOf, isJump } from './damage-entropy.ts';
import { alwaysUsual, daysToLearn } from './damage-habit.ts';
import { extensionOf, renamedTo, stemOf } from './damage-renames.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const begin = Date.UTC(2026, 0, 5);

const rule: DamageRule = {
  match: '**',
  windowMs: 10 * minute,
  deletes: { keys: 1000, share: 0.25, sigma: 3 },
  overwrites: { keys: 1000, share: 0.25, sigma: 3 },
  entropy: { keys: 20, share: 0.5 },
  renames: { keys: 20 },
};

/** What a dataset lives through, told in short. */
class Trace {
  state: DamageState;
  readonly rule: DamageRule;

  constructor(changes: Partial<DamageRule> = {}, known = 10_000) {
    this.rule = { ...rule, ...changes };
    this.state = newDamageState(begin, this.rule);
    this.add({ kind: 'scan', atMs: begin, known, extensions: ['doc', 'jpg', 'log', 'gz'] });
  }

  add(happening: Happening): void {
    this.state = afterHappening(this.state, happening, this.rule);
  }

  change(kind: 'deletes' | 'overwrites', count: number, fromMs: number, overMs = 0, spread = 1): void {
    for (let i = 0; i < count; i++)
      this.add({ kind, site: 'aws', spread, atMs: fromMs + Math.floor((overMs * i) / count) });
  }

  encrypt(count: number, atMs: number, overMs = 0): void {
    for (let i = 0; i < count; i++) {
      const at = atMs + Math.floor((overMs * i) / count);
      this.add({ kind: 'overwrites', site: 'aws', spread: 1, atMs: at });
      this.add({ kind: 'sample', site: 'aws', atMs: at, writtenMs: at, jump: true });
    }
  }

  scan(atMs: number): void {
    this.add({ kind: 'scan', atMs, known: this.state.known, extensions: [] });
  }

  get held() {
    return this.state.held;
  }

  get because(): string | undefined {
    return this.state.held?.because;
  }
}

function heldOf(trace: Trace) {
  return trace.state.held;
}

/** Days of ordinary work: a scan every five minutes would do the same as one an hour. */
function ordinaryDays(trace: Trace, days: number, random: Random, night = 0, fromDay = 0): number {
  for (let i = fromDay; i < fromDay + days; i++) {
    for (let h = 0; h < 24; h++) {
      const atMs = begin + i * day + h * hour;
      trace.scan(atMs);
      if (h === 2 && night > 0) trace.change('overwrites', night, atMs, 8 * minute);
      if (h >= 8 && h < 18) trace.change('overwrites', random.between(5, 40), atMs + 20 * minute, 5 * minute);
      if (h >= 8 && h < 18) trace.change('deletes', random.between(0, 20), atMs + 30 * minute, 5 * minute);
    }
  }
  return begin + (fromDay + days) * day;
}

test('ransomware that encrypts in place is held after a handful of keys', () => {
  const trace = new Trace();
  trace.encrypt(500, begin + hour, minute);
  assert.equal(trace.because, 'entropy');
  assert.deepEqual(heldOf(trace)?.numbers, { count: 20, allowed: 19, of: 20 });
  assert.equal(trace.held?.keys, 500, 'every change of the window and since');
});

test('in the first week, too, and where entropy cannot tell, at the budget', () => {
  const trace = new Trace();
  trace.change('overwrites', 2500, begin + hour, minute);
  assert.equal(trace.held, undefined, '25% of 10,000');
  trace.change('overwrites', 1, begin + hour + minute);
  assert.equal(trace.because, 'overwrites');
  assert.deepEqual(heldOf(trace)?.numbers, { count: 2501, allowed: 2500, of: 10_000 });
});

test('the budget is the larger of keys and share, and each window has its own', () => {
  const trace = new Trace({}, 100);
  for (let i = 0; i < 5; i++) trace.change('deletes', 1000, begin + hour + i * rule.windowMs, minute);
  assert.equal(trace.held, undefined);
  trace.change('deletes', 1, begin + hour + 4 * rule.windowMs + minute);
  assert.equal(trace.because, 'deletes');
});

test('encrypted under a new name: held by the extension, known ones are none of its business', () => {
  const trace = new Trace();
  const rename = (extension: string, count: number) => {
    for (let i = 0; i < count; i++) trace.add({ kind: 'rename', site: 'aws', atMs: begin + hour, extension });
  };
  rename('gz', 500);
  for (let i = 0; i < 100; i++) rename(`new${i}`, 1);
  rename('locked', 19);
  assert.equal(trace.held, undefined);
  rename('locked', 1);
  assert.deepEqual([trace.because, heldOf(trace)?.extension], ['renames', 'locked']);
});

test('slow encryption stays below the budget and is found by what is usual', () => {
  const trace = new Trace({ entropy: undefined! });
  const random = new Random(3);
  const now = ordinaryDays(trace, 23, random);
  assert.equal(trace.held, undefined);
  trace.change('overwrites', 300, now + 3 * hour, 9 * minute);
  assert.equal(trace.because, 'unusual-overwrites');
  assert.ok(heldOf(trace)!.numbers.count < 1000);
});

test('slow encryption by day, on top of ordinary work', () => {
  const trace = new Trace({ entropy: undefined! });
  const now = ordinaryDays(trace, 23, new Random(4));
  trace.change('overwrites', 200, now + 10 * hour, 9 * minute);
  assert.equal(trace.because, 'unusual-overwrites');
});

test('honest: a bulk import is creations only, and a first sync too', () => {
  const trace = new Trace({}, 0);
  trace.scan(begin + hour);
  for (let i = 0; i < 100; i++)
    trace.add({ kind: 'scan', atMs: begin + i * hour, known: i * 1e5, extensions: [] });
  assert.equal(trace.held, undefined);
});

test('honest: a nightly rewrite is learned over weeks, grows, and comes an hour early in spring', () => {
  for (const seed of [1, 2, 3]) {
    const trace = new Trace();
    const random = new Random(seed);
    let now = ordinaryDays(trace, 28, random, 800);
    for (let night = 0; night < 20; night++)
      now = ordinaryDays(trace, 1, random, 810 + night * 8, 28 + night);
    assert.equal(trace.held, undefined, `seed ${seed}`);
    trace.scan(now + hour);
    trace.change('overwrites', 900, now + hour + minute, 8 * minute);
    assert.equal(trace.held, undefined, 'an hour early');
  }
});

test('honest: a job of every week', () => {
  const trace = new Trace();
  const random = new Random(8);
  for (let week = 0; week < 12; week++) {
    const now = ordinaryDays(trace, 6, random, 0, week * 7);
    ordinaryDays(trace, 1, random, 700, week * 7 + 6);
    assert.equal(trace.held, undefined, `week ${week}, ${now}`);
  }
});

test('honest: the first busy morning after quiet weeks', () => {
  const trace = new Trace();
  for (let h = 0; h < 30 * 24; h++) trace.scan(begin + h * hour);
  const morning = begin + 30 * day + 9 * hour;
  trace.change('overwrites', alwaysUsual, morning, minute);
  assert.equal(trace.held, undefined);
  trace.change('overwrites', 1, morning + minute);
  assert.equal(trace.because, 'unusual-overwrites', 'beyond the minimum it is not usual');
});

test('honest: logs rotate', () => {
  const trace = new Trace();
  for (let i = 0; i < 60; i++) {
    const atMs = begin + i * day;
    trace.scan(atMs);
    trace.change('overwrites', 50, atMs, minute);
    trace.change('deletes', 10, atMs, minute);
    for (let n = 0; n < 10; n++) trace.add({ kind: 'rename', site: 'aws', atMs, extension: 'gz' });
    for (let n = 0; n < 10; n++)
      trace.add({ kind: 'sample', site: 'aws', atMs, writtenMs: atMs, jump: false });
  }
  assert.equal(trace.held, undefined);
});

test('honest: after an outage a day of changes is found at once', () => {
  const trace = new Trace();
  const now = ordinaryDays(trace, 23, new Random(6));
  const back = now + day + 9 * hour;
  trace.change('overwrites', 900, back, minute, 200);
  assert.equal(trace.held, undefined, 'spread over the 200 windows it is 4.5 each');
  trace.change('overwrites', 200, back + 20 * minute, minute);
  assert.equal(trace.because, 'unusual-overwrites', 'the same without the gap');
});

test('three sigma says nothing before it has watched long enough', () => {
  const watched = (days: number) => {
    const trace = new Trace();
    const now = ordinaryDays(trace, days, new Random(1));
    trace.change('overwrites', 900, now + 3 * hour, 9 * minute);
    return trace.because;
  };
  assert.equal(watched(daysToLearn), undefined, 'the last day ends with the next window');
  assert.equal(watched(daysToLearn + 1), 'unusual-overwrites');
});

test('noise among many judged overwrites is no attack, nor is what was noise before', () => {
  const trace = new Trace();
  for (let i = 0; i < 300; i++)
    trace.add({
      kind: 'sample',
      site: 'aws',
      atMs: begin + hour,
      writtenMs: begin + hour,
      jump: i % 3 === 0,
    });
  assert.equal(trace.held, undefined);
});

test('a hold stands, whatever follows, over days and a clock that is set back', () => {
  const random = new Random(12);
  const trace = new Trace();
  trace.encrypt(20, begin + day);
  const first = trace.held!;
  assert.equal(first.keys, 20);
  let changes = 0;
  for (let i = 0; i < 2000; i++) {
    const atMs = begin + random.between(0, 20) * day;
    if (random.chance(0.5)) trace.scan(atMs);
    else {
      trace.change(random.chance(0.5) ? 'deletes' : 'overwrites', 1, atMs);
      changes += 1;
    }
    assert.deepEqual(trace.held, { ...first, keys: 20 + changes });
    assert.deepEqual(judgeDamage(trace.state, trace.rule), trace.held);
  }
});

test('a release covers what was seen, and an attack that goes on is held again', () => {
  const trace = new Trace();
  trace.change('overwrites', 4000, begin + day, minute);
  const seen = trace.held!.keys;
  assert.equal(seen, 4000);
  trace.change('overwrites', 1001, begin + day + minute);
  assert.deepEqual(
    released(trace.state, seen, begin + day + minute, trace.rule),
    trace.state,
    '1001 that nobody saw',
  );
  trace.state = released(trace.state, seen + 1, begin + day + minute, trace.rule);
  assert.equal(trace.held, undefined);
  trace.change('overwrites', 2500, begin + day + 2 * minute);
  assert.equal(trace.held, undefined);
  trace.change('overwrites', 1, begin + day + 2 * minute);
  assert.equal(trace.because, 'overwrites');
});

test('bodies that were written before the release are released, whenever they are looked at', () => {
  const trace = new Trace();
  trace.encrypt(20, begin + day);
  trace.state = released(trace.state, 20, begin + day + minute, trace.rule);
  const look = (writtenMs: number) => {
    for (let i = 0; i < 20; i++)
      trace.add({ kind: 'sample', site: 'aws', atMs: begin + day + 2 * minute, writtenMs, jump: true });
  };
  look(begin + day + minute);
  assert.equal(trace.held, undefined);
  look(begin + day + minute + 1);
  assert.equal(trace.because, 'entropy');
});

test('what a person released was meant, and is learned; what is held is not', () => {
  const trace = new Trace();
  trace.change('overwrites', 3000, begin + 2 * hour, minute);
  assert.equal(trace.held?.keys, 3000);
  trace.scan(begin + 3 * hour);
  assert.equal(trace.state.habits.overwrites.busiest[2], 0);
  const other = new Trace();
  other.change('overwrites', 3000, begin + 2 * hour, minute);
  other.state = released(other.state, 3000, begin + 3 * hour, other.rule);
  assert.equal(other.state.habits.overwrites.busiest[2], 3000);
});

test('property: within the budget nothing is held while it learns, and state stays small JSON', () => {
  for (let seed = 0; seed < 40; seed++) {
    const random = new Random(seed);
    const trace = new Trace();
    for (let i = 0; i < 300; i++) {
      const atMs = begin + i * random.between(5, 60) * minute;
      if (atMs > begin + daysToLearn * day) break;
      trace.scan(atMs);
      for (let n = random.between(0, 15); n > 0; n--) {
        const verb = random.pick(['deletes', 'overwrites'] as const);
        trace.add({ kind: verb, site: 'aws', atMs, spread: random.between(1, 9) });
        trace.add({ kind: 'sample', site: 'aws', atMs, writtenMs: atMs, jump: random.chance(0.2) && n > 10 });
        trace.add({ kind: 'rename', site: 'aws', atMs, extension: `e${random.between(0, 4000)}` });
      }
    }
    assert.equal(trace.held, undefined, `seed ${seed}`);
    const text = JSON.stringify(trace.state);
    assert.ok(text.length < 4000, `${text.length} characters`);
    assert.deepEqual(JSON.parse(text), trace.state);
  }
});

test('property: nothing that keeps on beyond a budget gets through in one window', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = new Random(seed);
    const keys = random.between(0, 50);
    const trace = new Trace({ deletes: { keys, share: 0, sigma: 0 } }, random.between(0, 1000));
    const count = random.between(0, 100);
    trace.change('deletes', count, begin + hour, 9 * minute);
    assert.equal(trace.held !== undefined, count > keys, `seed ${seed}`);
  }
});

test('entropy: text and pictures of plain pixels are low, noise is high, a few bytes tell nothing', () => {
  const random = new Random(1);
  const noise = Uint8Array.from({ length: 8192 }, () => random.between(0, 256));
  const text = Buffer.from('The quick brown fox jumps over the lazy dog. '.repeat(200));
  assert.ok(entropyOf(noise)! >= 7.9);
  assert.ok(entropyOf(text)! < 5);
  assert.equal(entropyOf(new Uint8Array(8192)), 0);
  assert.equal(entropyOf(noise.subarray(0, 4095)), undefined);
  assert.equal(entropyOf(new Uint8Array(0)), undefined);
  assert.ok(isJump(entropyOf(text)!, entropyOf(noise)!));
  assert.ok(!isJump(entropyOf(noise)!, entropyOf(noise)!), 'compressed before');
  assert.ok(!isJump(entropyOf(noise)!, entropyOf(text)!));
  assert.ok(!isJump(4, 7.8));
});

test('entropy: four kibibytes of noise reach the mark, whatever the noise', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = new Random(seed);
    assert.ok(entropyOf(Uint8Array.from({ length: 4096 }, () => random.between(0, 256)))! >= 7.9, `${seed}`);
  }
});

test('extensions and what was renamed to what', () => {
  assert.deepEqual(
    ['a/b.DOC', 'a.b/c', '.bashrc', 'a/.env', 'x.', 'x.tar.gz', `x.${'y'.repeat(33)}`].map(extensionOf),
    ['doc', undefined, undefined, undefined, undefined, 'gz', undefined],
  );
  assert.deepEqual(['a/b.DOC', 'a.b/c', 'x.tar.gz'].map(stemOf), ['a/b', 'a.b/c', 'x.tar']);
  assert.equal(renamedTo('a/b.doc', 'a/b.doc.locked'), 'locked');
  assert.equal(renamedTo('a/b.doc', 'a/b.locked'), 'locked');
  assert.equal(renamedTo('README', 'README.locked'), 'locked');
  assert.equal(renamedTo('a/b.doc', 'a/b.doc'), undefined);
  assert.equal(renamedTo('a/b.doc', 'a/c.locked'), undefined);
  assert.equal(renamedTo('a/b.doc', 'z/b.doc.locked'), undefined);
});
