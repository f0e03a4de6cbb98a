/**
 * One blob on its way from the other registry into the store. Its bytes go into an upload of the store, and whoever wants
 * them reads them from there at a pace of his own: a slow client holds up nobody, and no blob is ever whole in memory.
 */
import { Readable } from "node:stream"
import { Digest } from "@effect-registry/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Blob, BlobStore, UploadError } from "../BlobStore.js"
import type { StorageError } from "../StorageError.js"
import { type UpstreamBlob, UpstreamError } from "../Upstream.js"

type Store = Context.Tag.Service<BlobStore>

/** Bytes gathered before they are given to the store. */
const batch = 1 << 20
/** Milliseconds after which fewer are given to it, so that clients of a slow registry see something. */
const patience = 100

export interface Transfer {
  readonly repository: string
  readonly digest: Digest.Digest
  /** Where the bytes are until the digest is known to be right, and how many. */
  upload: { readonly id: string; readonly size: number } | undefined
  state: "Running" | "Done" | "Failed"
  /** Told of every change. */
  readonly watchers: Set<() => void>
}

export const make = (repository: string, digest: Digest.Digest): Transfer => ({
  repository,
  digest,
  upload: undefined,
  state: "Running",
  watchers: new Set()
})

/** Makes it a blob of its repository. Nothing of it stays where that fails, or is interrupted. */
export const run = (
  store: Store,
  transfer: Transfer,
  remote: UpstreamBlob
): Effect.Effect<void, UpstreamError | StorageError | UploadError> => {
  const { digest, repository } = transfer
  return Effect.gen(function* () {
    // Somebody else may have fetched it; that this repository may have it too was asked before.
    if (yield* store.mount(repository, digest, undefined)) return
    const { id } = yield* store.startUpload(repository, Digest.algorithm(digest))
    yield* fill(store, transfer, id, remote).pipe(
      Effect.zipRight(store.finish(repository, id, digest)),
      Effect.onError(() => Effect.ignoreLogged(store.cancel(repository, id)))
    )
  }).pipe(
    Effect.mapError((error) =>
      error._tag === "UploadError" && error.reason === "DigestMismatch"
        ? new UpstreamError({ reason: "Invalid", message: `the bytes of ${digest} have another digest` })
        : error
    ),
    Effect.onExit(({ _tag }) => Effect.sync(() => change(transfer, { state: _tag === "Success" ? "Done" : "Failed" })))
  )
}

/**
 * The bytes from `start` up to and including `end`, as they come. The last one waits until the digest is known to be right, so
 * a client never has all of something wrong. Breaks off where the transfer fails.
 */
export class Follower extends Readable {
  private source: Readable | undefined
  private opening = false
  private finished = false
  /** Whether there is room for more. */
  private wanted = false
  private readonly onChange = () => this.next()

  constructor(
    private readonly transfer: Transfer,
    private readonly openUpload: Store["openUpload"],
    /** The blob, once the transfer is done. */
    private readonly stored: () => Promise<Blob | undefined>,
    private at: number,
    private readonly end: number
  ) {
    super({ highWaterMark: batch })
    // Its client may be gone before anybody listens; without a listener the error would end the process.
    this.on("error", () => {})
    transfer.watchers.add(this.onChange)
  }

  override _read(): void {
    this.wanted = true
    if (this.source === undefined) this.next()
    else this.source.resume()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.transfer.watchers.delete(this.onChange)
    this.source?.destroy()
    callback(error)
  }

  /** Opens what there is more of, or waits for the transfer. */
  private next(): void {
    if (this.destroyed || this.finished || this.opening || this.source !== undefined) return
    const { repository, state, upload } = this.transfer
    if (this.at > this.end) {
      this.finished = true
      this.push(null)
    } else if (state === "Failed") this.destroy(new Error("the registry behind the cache broke off"))
    else if (!this.wanted) return
    else if (state === "Done") this.openStored()
    else if (upload !== undefined && this.openUpload !== undefined) {
      const until = Math.min(this.end, upload.size) - 1
      if (until >= this.at) this.follow(this.openUpload(repository, upload.id, this.at, until), "upload")
    }
  }

  private openStored(): void {
    this.opening = true
    this.stored().then(
      (blob) => {
        this.opening = false
        if (this.destroyed) return
        if (blob === undefined) this.destroy(new Error("the blob is gone"))
        else this.follow(blob.open(this.at, this.end), "blob")
      },
      (cause) => this.destroy(cause instanceof Error ? cause : new Error(String(cause)))
    )
  }

  private follow(source: Readable, kind: "upload" | "blob"): void {
    this.source = source
    const begin = this.at
    source.on("data", (chunk: Uint8Array) => {
      this.at += chunk.length
      this.wanted = this.push(chunk)
      if (!this.wanted) source.pause()
    })
    source.on("error", (error) => {
      // An upload that becomes a blob in this moment has no file any more.
      if (kind === "blob") this.destroy(error)
    })
    source.on("close", () => {
      this.source = undefined
      if (kind === "blob" && this.at <= this.end) this.destroy(new Error("the blob is shorter than it was"))
      else if (this.at > begin || this.transfer.state !== "Running") this.next()
    })
  }
}

// internal

const change = (transfer: Transfer, how: Partial<Pick<Transfer, "state" | "upload">>) => {
  Object.assign(transfer, how)
  for (const watcher of [...transfer.watchers]) watcher()
}

/** All bytes into the upload, some at a time. */
const fill = (store: Store, transfer: Transfer, id: string, remote: UpstreamBlob) => {
  let waiting: Array<Uint8Array> = []
  let bytes = 0
  let since = 0
  const flush = Effect.suspend(() => {
    const body = Readable.from(waiting, { objectMode: false })
    waiting = []
    bytes = 0
    return Effect.map(store.append(transfer.repository, id, body, undefined), ({ size }) =>
      change(transfer, { upload: { id, size } })
    )
  })
  return Stream.runForEach(remote.stream, (chunk) => {
    if (bytes === 0) since = performance.now()
    waiting.push(chunk)
    bytes += chunk.length
    return bytes >= batch || performance.now() - since > patience ? flush : Effect.void
  }).pipe(Effect.zipRight(Effect.suspend(() => (bytes > 0 ? flush : Effect.void))))
}
