/** Blobs and uploads in a plain folder, laid out as `storage/Layout.ts` says. */
import { createHash, randomUUID } from "node:crypto"
import { createReadStream } from "node:fs"
import * as Fs from "node:fs/promises"
import { dirname } from "node:path"
import { pipeline } from "node:stream/promises"
import { Digest } from "@effect-registry/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type BlobStore, touchEvery, UploadError } from "../BlobStore.js"
import * as KeyedLock from "../KeyedLock.js"
import * as Limits from "../Limits.js"
import * as Buffers from "../storage/Buffers.js"
import { FileBody } from "../storage/FileBody.js"
import * as Files from "../storage/Files.js"
import * as Hashing from "../storage/Hashing.js"
import type { Layout } from "../storage/Layout.js"
import { notKept, receive } from "../storage/Receive.js"
import { counting, Sessions } from "./Sessions.js"
import * as Walk from "./Walk.js"

/** The size of a read decides the speed of a download. */
const chunk = 1 << 20

export interface Options {
  readonly layout: Layout
  readonly files: Files.Files
  /** `uploadSize`, `openUploads`, `bodyRate` and `idle`. */
  readonly limits: Limits.Options
}

type Service = Context.Tag.Service<BlobStore>

/** The only one that changes this folder. Its thread ends with the scope. */
export const make = (options: Options): Effect.Effect<Service, never, Scope.Scope> =>
  Effect.map(Hashing.make, (hashing) => {
    const lock = KeyedLock.make()
    const locked: Locked = (repository, digest) => lock(`${repository}@${digest}`)
    return { ...blobs(options, locked), ...uploads(options, hashing, locked) }
  })

// internal

type Uploads = "startUpload" | "openUploads" | "findUpload" | "append" | "openUpload" | "finish" | "cancel"

/** Whoever was told that a blob is there must not see it go because it was not yet touched. */
type Locked = (repository: string, digest: Digest.Digest) => ReturnType<KeyedLock.KeyedLock>

const blobs = ({ files, layout }: Options, locked: Locked): Omit<Service, Uploads> => {
  return {
    find: (repository, digest) => {
      const path = layout.blob(repository, digest)
      return Effect.flatMap(
        Files.attempt("look at a blob", () => Files.ifThere(Fs.stat(path))),
        (stat) => {
          if (stat === undefined) return Effect.succeedNone
          const blob = Option.some({
            size: stat.size,
            open: (start: number, end: number) => new FileBody(path, start, end)
          })
          if (Date.now() - stat.mtimeMs < touchEvery) return Effect.succeed(blob)
          return Effect.map(
            locked(repository, digest)(Files.attempt("touch a blob", () => Files.touch(path))),
            (isThere) => (isThere ? blob : Option.none())
          )
        }
      )
    },

    mount: (repository, digest, from) =>
      locked(
        repository,
        digest
      )(
        Files.attempt("mount a blob", async () => {
          const content = layout.content(digest)
          const own = layout.blob(repository, digest)
          if (from === undefined && !(await hasOtherName(content))) return false
          // One step: the source is there and is linked, or it is not.
          const source = from === undefined ? content : layout.blob(from, digest)
          if ((await Files.ifThere(files.link(source, own).then(() => true))) === undefined) return false
          if (!(await Files.touch(own))) return false
          // A sweep may have taken the shared file in the moment before; without it the next push would need more room.
          if ((await Files.sizeOf(content)) === undefined) await files.name(own, content)
          return true
        })
      ),

    remove: (repository, digest, before) =>
      locked(
        repository,
        digest
      )(
        Files.attempt("remove a blob", async () => {
          const path = layout.blob(repository, digest)
          const stat = before === undefined ? undefined : await Files.ifThere(Fs.stat(path))
          if (stat !== undefined && before !== undefined && stat.mtimeMs >= before) return false
          if (!(await Files.remove(path))) return false
          await files.syncFolder(dirname(path))
          return true
        })
      ),

    repositories: Files.attempt("list repositories", () => Walk.repositories(layout)),
    list: (repository) => Files.attempt("list blobs", () => Walk.held(layout, repository)),
    uploads: Files.attempt("list uploads", () => Walk.uploads(layout)),
    sweep: (options) => Files.attempt("free what nobody holds", () => Walk.sweep(files, layout, options))
  }
}

const uploads = (
  { files, layout, limits }: Options,
  hashing: Hashing.Hashing,
  locked: Locked
): Pick<Service, Uploads> => {
  const { openUploads: mostOpen = 1000, uploadSize = Number.POSITIVE_INFINITY } = limits
  const pace = Limits.pace(limits)
  const buffers = new Buffers.Buffers()
  const sessions = new Sessions(hashing)
  const lock = KeyedLock.make()
  let open: { count: number } | undefined
  let walk: Promise<{ count: number }> | undefined

  /** How many uploads there are; the disk is asked once. */
  const opened = async () => {
    walk ??= Walk.uploads(layout).then(
      (all) => (open = { count: all.length }),
      (cause) => {
        walk = undefined
        throw cause
      }
    )
    return open ?? walk
  }

  const findUpload: Service["findUpload"] = (repository, id) =>
    Effect.map(
      Files.attempt("look at an upload", () => Files.sizeOf(layout.upload(repository, id))),
      (size) => Option.map(Option.fromNullable(size), (size) => ({ id, size }))
    )

  const requireUpload = (repository: string, id: string) =>
    Effect.flatMap(
      findUpload(repository, id),
      Option.match({ onNone: () => failure("Unknown"), onSome: Effect.succeed })
    )

  const discard = (repository: string, id: string) =>
    Files.attempt("remove an upload", async () => {
      const wasThere = await Files.remove(layout.upload(repository, id))
      if (!wasThere) return false
      sessions.forget(id)
      if (open !== undefined) open.count -= 1
      return true
    })

  const refused = (repository: string, id: string, reason: "TooLarge" | "DigestMismatch") =>
    Effect.zipRight(discard(repository, id), failure(reason))

  const receiveAt = (
    repository: string,
    id: string,
    size: number,
    body: Parameters<Service["append"]>[2],
    announced: number | undefined
  ) =>
    Effect.acquireUseRelease(
      Files.attempt("open an upload", async () => {
        const handle = await Fs.open(layout.upload(repository, id), "r+")
        return { handle, session: sessions.continue(id, size, announced) }
      }),
      ({ handle, session }) =>
        receive(body, {
          handle,
          position: size,
          hash: counting(session),
          buffers,
          room: uploadSize - size,
          pace,
          ahead: files.ahead
        }),
      ({ handle }) => Effect.promise(() => handle.close())
    )

  return {
    startUpload: (repository, algorithm) =>
      Effect.flatMap(
        Files.attempt("start an upload", async () => {
          const open = await opened()
          if (open.count >= mostOpen) return undefined
          open.count += 1
          const id = randomUUID()
          const path = layout.upload(repository, id)
          try {
            await create(path)
          } catch (cause) {
            open.count -= 1
            throw cause
          }
          sessions.start(id, algorithm)
          return { id, size: 0 }
        }),
        (upload) => (upload === undefined ? failure("TooMany") : Effect.succeed(upload))
      ),

    findUpload,

    append: (repository, id, body, start, announced, ready) =>
      lock(id)(
        Effect.gen(function* () {
          const { size } = yield* requireUpload(repository, id)
          if (start !== undefined && start !== size) {
            return yield* new UploadError({ reason: "OutOfOrder", size })
          }
          if (announced !== undefined && size + announced > uploadSize)
            return yield* refused(repository, id, "TooLarge")
          ready?.()
          const received = yield* receiveAt(repository, id, size, body, announced).pipe(
            Effect.tapError((error) => {
              const isLost = error._tag === "UploadError" ? error.reason === "TooLarge" : error.operation === notKept
              return isLost ? discard(repository, id) : Effect.void
            })
          )
          return { id, size: size + received }
        })
      ),

    openUploads: Files.attempt("count uploads", async () => (await opened()).count),

    openUpload: (repository, id, start, end) => new FileBody(layout.upload(repository, id), start, end),

    finish: (repository, id, digest) =>
      lock(id)(
        Effect.gen(function* () {
          const { size } = yield* requireUpload(repository, id)
          const path = layout.upload(repository, id)
          const algorithm = Digest.algorithm(digest)
          // The disk works while the last bytes are hashed.
          const actual = yield* Files.attempt("finish an upload", async () => {
            const [hex] = await Promise.all([sessions.digest(id, size, algorithm), files.sync(path)])
            return hex ?? hashFile(path, algorithm)
          })
          if (actual !== Digest.hex(digest)) return yield* refused(repository, id, "DigestMismatch")
          yield* locked(
            repository,
            digest
          )(Files.attempt("store a blob", () => hold(files, layout, path, repository, digest)))
          yield* discard(repository, id)
        })
      ),

    cancel: (repository, id, before) => {
      if (before === undefined) return lock(id)(discard(repository, id))
      const old = Effect.flatMap(
        Files.attempt("look at an upload", () => Files.ifThere(Fs.stat(layout.upload(repository, id)))),
        (stat) => (stat === undefined || stat.mtimeMs >= before ? Effect.succeed(false) : discard(repository, id))
      )
      // Whoever adds to it or finishes it has the lock, and the file is not taken from under them.
      return Effect.map(
        lock.ifFree(id)(old),
        Option.getOrElse(() => false)
      )
    }
  }
}

const failure = (reason: UploadError["reason"]) => new UploadError({ reason })

const create = async (path: string): Promise<void> => {
  const make = async () => (await Fs.open(path, "wx")).close()
  if ((await Files.ifThere(make().then(() => true))) === true) return
  await Fs.mkdir(dirname(path), { recursive: true })
  await make()
}

const hashFile = async (path: string, algorithm: Digest.Algorithm): Promise<string> => {
  const hash = createHash(algorithm)
  await pipeline(createReadStream(path, { highWaterMark: chunk }), hash)
  return hash.digest("hex")
}

/** Makes a whole and verified file the blob, in the shared folder and in this repository. */
const hold = async (
  files: Files.Files,
  layout: Layout,
  path: string,
  repository: string,
  digest: Digest.Digest
): Promise<void> => {
  const content = layout.content(digest)
  const own = layout.blob(repository, digest)
  // Its last byte may have come long ago, and it is one file with the blob: that counts as pushed now.
  await Files.touch(path)
  for (let tries = 1; ; tries++) {
    try {
      const isNew = await files.name(path, content)
      const isNamed = await files.name(content, own)
      if ((isNew && isNamed) || (await Files.touch(own))) break
      if (tries === 100) throw new Error(`${own} goes as often as it is made`)
    } catch (cause) {
      // A sweep looked at what is there, or took what was there of old: the next round puts ours there.
      if (tries === 100 || Files.codeOf(cause) !== "ENOENT") throw cause
    }
  }
  await Promise.all([files.syncFolder(dirname(content)), files.syncFolder(dirname(own))])
}

const hasOtherName = async (path: string): Promise<boolean> => ((await Files.ifThere(Fs.stat(path)))?.nlink ?? 0) > 1
