/**
 * The journal of unfinished uploads in files, so that a run goes on where a killed one stopped. One file an upload, with
 * mode 600: the location may carry a signature, and is written nowhere else.
 */
import * as Crypto from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { UploadJournal } from "@effect-registry/core"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as NodeProcessLock from "./NodeProcessLock.js"
import * as StateFolder from "./StateFolder.js"

export interface Options extends StateFolder.Options {}

/** Milliseconds. Registries forget an upload after a day, or a week. */
export const maxAge = 7 * 24 * 60 * 60 * 1000

/** Entries that are kept; of more than these the oldest are removed now and then. */
export const maxEntries = 1000

/**
 * The journal in the folder `uploads`. An entry that cannot be read, is another upload's or older than `maxAge` is not
 * there. Where the folder cannot be used, or others can write to it, entries are kept in memory.
 */
export const make = (options: Options = {}): Effect.Effect<UploadJournal.Service> =>
  Effect.gen(function* () {
    const root = options.folder === undefined ? yield* StateFolder.stateHome : Path.resolve(options.folder)
    const memory = yield* UploadJournal.makeMemory
    let claims = 0
    return {
      claim: (key) =>
        Effect.gen(function* () {
          const folder = yield* Effect.promise(() => StateFolder.privateFolder(root, "uploads"))
          if (folder === undefined) return yield* memory.claim(key)
          if (claims++ % sweepEvery === 0) yield* sweep(folder)
          const file = Path.join(folder, nameOf(key))
          return (yield* NodeProcessLock.make.acquire(file)) ? Option.some(claimOf(file, key)) : Option.none()
        })
    }
  })

export const layer = (options: Options = {}): Layer.Layer<never> =>
  Layer.effect(UploadJournal.UploadJournal, make(options))

// internal

const Saved = Schema.parseJson(
  Schema.Struct({
    key: Schema.Struct({
      origin: Schema.String,
      repository: Schema.String,
      content: Schema.String
    }),
    location: Schema.String.pipe(Schema.minLength(1)),
    /** Milliseconds since 1970. */
    time: Schema.Number
  })
)

/** Bytes of an entry. Locations are signed URLs at most, a few KiB. */
const maxSize = 32 * 1024

const nameOf = (key: UploadJournal.Key): string =>
  `${Crypto.createHash("sha256").update(UploadJournal.keyText(key)).digest("hex")}.json`

/** Nothing here can be interrupted half-way: it would go on after the lock is released. */
const claimOf = (file: string, key: UploadJournal.Key): UploadJournal.Claim => {
  const remove = Effect.uninterruptible(Effect.promise(() => StateFolder.remove(file)))
  return {
    read: Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const found = yield* Effect.promise(() => StateFolder.read(file, maxSize))
      const entry = Option.filter(
        Option.flatMap(Option.fromNullable(found), ({ text }) => Schema.decodeOption(Saved)(text)),
        // A time in the future is from a clock that was set back since.
        (saved) =>
          UploadJournal.keyText(saved.key) === UploadJournal.keyText(key) && Math.abs(now - saved.time) <= maxAge
      )
      if (Option.isNone(entry)) yield* remove
      return Option.map(entry, ({ location }) => ({ location }))
    }),
    write: ({ location }) =>
      Effect.flatMap(Clock.currentTimeMillis, (time) => {
        const { content, origin, repository } = key
        const text = JSON.stringify({ key: { origin, repository, content }, location, time })
        const written =
          Buffer.byteLength(text) > maxSize
            ? Effect.succeed(false)
            : Effect.promise(() => StateFolder.write(file, text, true))
        // The entry before is of no use any more.
        return Effect.uninterruptible(Effect.flatMap(written, (done) => (done ? Effect.void : remove)))
      }),
    remove
  }
}

const sweepEvery = 500

/** Removes what is too old or too much, with what killed processes left beside it. An entry that is owned stays. */
const sweep = (folder: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const entries = yield* Effect.promise(() => list(folder))
    const surplus = entries.filter(({ newest }, index) => index >= maxEntries || now - newest > maxAge)
    yield* Effect.forEach(surplus, (entry) => removeUnowned(folder, entry), { discard: true })
  })

interface Listed {
  /** The entry's own name; others start with it. */
  readonly name: string
  readonly files: ReadonlyArray<string>
  /** When a file of it was last written, in milliseconds since 1970. */
  readonly newest: number
}

/** The entries, the newest first. */
const list = async (folder: string): Promise<ReadonlyArray<Listed>> => {
  const files = (await Fs.readdir(folder).catch((): Array<string> => [])).filter((file) => entryName.test(file))
  const times = await Promise.all(files.map((file) => writtenAt(Path.join(folder, file))))
  const groups = new Map<string, { readonly name: string; readonly files: Array<string>; newest: number }>()
  for (const [index, file] of files.entries()) {
    const name = file.slice(0, nameLength)
    const group = groups.get(name) ?? { name, files: [], newest: 0 }
    group.files.push(file)
    group.newest = Math.max(group.newest, times[index] ?? 0)
    groups.set(name, group)
  }
  return [...groups.values()].sort((a, b) => b.newest - a.newest)
}

const entryName = /^[0-9a-f]{64}\.json/
const nameLength = 69

/** `0` for what is gone by now. */
const writtenAt = (file: string): Promise<number> =>
  Fs.lstat(file).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0
  )

const removeUnowned = (folder: string, { files, name }: Listed): Effect.Effect<void> =>
  Effect.scoped(
    Effect.gen(function* () {
      if (!(yield* NodeProcessLock.make.acquire(Path.join(folder, name)))) return
      // Whoever owns the lock owns what is named after it: no takeover that began before can end well any more.
      const others = files.filter((file) => file !== `${name}.lock`)
      yield* Effect.promise(() => Promise.all(others.map((file) => StateFolder.remove(Path.join(folder, file)))))
    })
  )
