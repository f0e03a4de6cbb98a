/** Blobs and uploads in a plain folder, laid out as `storage/Layout.ts` says. */
import { createHash, type Hash, randomUUID } from "node:crypto"
import { createReadStream } from "node:fs"
import * as Fs from "node:fs/promises"
import { dirname } from "node:path"
import { pipeline } from "node:stream/promises"
import { Digest } from "@effect-registry/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type BlobStore, UploadError } from "../BlobStore.js"
import * as KeyedLock from "../KeyedLock.js"
import * as Files from "../storage/Files.js"
import type { Layout } from "../storage/Layout.js"
import { receive } from "../storage/Receive.js"

/** Reads of 1 MiB: the size of a read decides the speed of a download. */
const chunk = 1 << 20

/** What is remembered of an upload between requests, so that its bytes are hashed once. */
interface Session {
  readonly algorithm: "sha256" | "sha512"
  readonly hash: Hash
  /** Bytes that went through `hash`. Another size of the file means: hash it again. */
  hashed: number
}

export interface Options {
  readonly layout: Layout
  readonly files: Files.Files
  /** Silence after which the sender of an upload counts as gone. Milliseconds. */
  readonly idle: number
}

export const make = ({ files, idle, layout }: Options): Context.Tag.Service<BlobStore> => {
  const sessions = new Map<string, Session>()
  const lock = KeyedLock.make()

  const newSession = (id: string, algorithm: Session["algorithm"]) => {
    const session: Session = { algorithm, hash: createHash(algorithm), hashed: 0 }
    sessions.set(id, session)
    return session
  }

  /** The session of an upload whose hash stands at `size`; none where the file has to be read again at the end. */
  const sessionAt = (id: string, size: number) => {
    const session = sessions.get(id) ?? newSession(id, "sha256")
    if (session.hashed === size) return session
    sessions.delete(id)
    return undefined
  }

  const findUpload: Context.Tag.Service<BlobStore>["findUpload"] = (repository, id) =>
    Effect.map(
      Files.attempt("look at an upload", () => Files.sizeOf(layout.upload(repository, id))),
      (size) => Option.map(Option.fromNullable(size), (size) => ({ id, size }))
    )

  const requireUpload = (repository: string, id: string) =>
    Effect.flatMap(
      findUpload(repository, id),
      Option.match({
        onNone: () => Effect.fail(new UploadError({ reason: "Unknown" })),
        onSome: Effect.succeed
      })
    )

  const discard = (repository: string, id: string) =>
    Files.attempt("remove an upload", () => {
      sessions.delete(id)
      return Files.remove(layout.upload(repository, id))
    })

  /** The digest of a whole upload: from its session, else by reading it. */
  const digestOf = async (path: string, id: string, size: number, algorithm: Session["algorithm"]) => {
    const session = sessions.get(id)
    if (session !== undefined && session.algorithm === algorithm && session.hashed === size) {
      return `${algorithm}:${session.hash.copy().digest("hex")}`
    }
    const hash = createHash(algorithm)
    await pipeline(createReadStream(path, { highWaterMark: chunk }), hash)
    return `${algorithm}:${hash.digest("hex")}`
  }

  return {
    find: (repository, digest) => {
      const path = layout.blob(repository, digest)
      return Effect.map(
        Files.attempt("look at a blob", () => Files.sizeOf(path)),
        (size) =>
          Option.map(Option.fromNullable(size), (size) => ({
            size,
            open: (start, end) => createReadStream(path, { start, end, highWaterMark: chunk })
          }))
      )
    },

    mount: (repository, digest, from) =>
      Files.attempt("mount a blob", async () => {
        const linked = await Files.ifThere(Fs.access(layout.blob(from, digest)).then(() => true))
        if (linked !== true) return false
        await files.link(layout.content(digest), layout.blob(repository, digest))
        return true
      }),

    remove: (repository, digest) => Files.attempt("remove a blob", () => Files.remove(layout.blob(repository, digest))),

    startUpload: (repository, algorithm) =>
      Files.attempt("start an upload", async () => {
        const id = randomUUID()
        const path = layout.upload(repository, id)
        await Fs.mkdir(dirname(path), { recursive: true })
        await Fs.writeFile(path, "", { flag: "wx" })
        newSession(id, algorithm)
        return { id, size: 0 }
      }),

    findUpload,

    append: (repository, id, body, start) =>
      lock(id)(
        Effect.gen(function* () {
          const { size } = yield* requireUpload(repository, id)
          if (start !== undefined && start !== size) {
            return yield* Effect.fail(new UploadError({ reason: "OutOfOrder", size }))
          }
          const session = sessionAt(id, size)
          const received = yield* Effect.acquireUseRelease(
            Files.attempt("open an upload", () => Fs.open(layout.upload(repository, id), "r+")),
            (handle) => receive(body, { handle, position: size, hash: session && counting(session), idle }),
            (handle) => Effect.promise(() => handle.close())
          )
          return { id, size: size + received }
        })
      ),

    finish: (repository, id, digest) =>
      lock(id)(
        Effect.gen(function* () {
          const { size } = yield* requireUpload(repository, id)
          const path = layout.upload(repository, id)
          const actual = yield* Files.attempt("hash an upload", () =>
            digestOf(path, id, size, Digest.algorithm(digest))
          )
          if (actual !== digest) {
            yield* discard(repository, id)
            return yield* Effect.fail(new UploadError({ reason: "DigestMismatch" }))
          }
          yield* Files.attempt("store a blob", async () => {
            await files.sync(path)
            await files.link(path, layout.content(digest))
            await files.link(layout.content(digest), layout.blob(repository, digest))
          })
          yield* discard(repository, id)
        })
      ),

    cancel: (repository, id) => lock(id)(discard(repository, id))
  }
}

// internal

/** The session's hash, counting what goes through it. */
const counting = (session: Session) => ({
  update: (data: Uint8Array) => {
    session.hash.update(data)
    session.hashed += data.length
  }
})
