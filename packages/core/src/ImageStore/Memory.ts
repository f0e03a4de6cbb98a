/** A store in memory: for tests, and to build an image without a disk. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { checkDiffId, collect } from "../BlobTransport.js"
import type { BlobWrite, BlobWritten, ImageEntry, ImageName, ImageSource, ImageTarget } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as Digest from "../model/Digest.js"
import * as Manifest from "../model/Manifest.js"
import * as Referrer from "../model/Referrer.js"
import { ValidationError } from "../ValidationError.js"

/** Both sides of the store, and what is in it. */
export interface MemoryStore {
  /** All images with a name; with `tag`, that one. Fails with `NoImage` where there is none. */
  readonly source: (tag?: string) => ImageSource<ValidationError>
  readonly target: ImageTarget<ValidationError>
  readonly blobs: ReadonlyMap<Digest.Digest, Uint8Array>
  readonly manifests: ReadonlyMap<Digest.Digest, Uint8Array>
  /** `repository:tag` → what it names. */
  readonly names: ReadonlyMap<string, Descriptor>
}

/** An empty store; nothing is written before the target's commit. */
export const make = (name = "memory"): MemoryStore => {
  const blobs = new Map<Digest.Digest, Uint8Array>()
  const manifests = new Map<Digest.Digest, Uint8Array>()
  const names = new Map<string, { readonly name: ImageName; readonly descriptor: Descriptor }>()
  const bySubject = new Map<Digest.Digest, Map<Digest.Digest, Descriptor>>()

  const referrers = ({ digest }: Descriptor) => Effect.sync(() => [...(bySubject.get(digest)?.values() ?? [])])
  const missing = (digest: Digest.Digest) =>
    Effect.fail(ValidationError.of("MissingContent", name, `${digest} is not there`))

  const source = (tag?: string): ImageSource<ValidationError> => ({
    name,
    open: Effect.succeed({
      images: Effect.suspend(() => {
        const entries = new Map<Digest.Digest, ImageEntry>()
        for (const { descriptor, name } of names.values()) {
          if (tag !== undefined && !Option.contains(name.tag, tag)) continue
          const known = entries.get(descriptor.digest)?.names ?? []
          const root = { _tag: "Manifest" as const, descriptor }
          entries.set(descriptor.digest, { root, names: [...known, name], missingPlatforms: [] })
        }
        return entries.size > 0
          ? Effect.succeed([...entries.values()])
          : Effect.fail(
              ValidationError.of("NoImage", name, tag === undefined ? "holds no image" : `holds no tag ${tag}`)
            )
      }),
      manifest: ({ digest }) =>
        Effect.suspend(() =>
          Option.match(Option.fromNullable(manifests.get(digest)), {
            onNone: () => missing(digest),
            onSome: Effect.succeed
          })
        ),
      blob: ({ digest }) =>
        Effect.suspend(() => {
          const bytes = blobs.get(digest)
          return bytes === undefined ? missing(digest) : Effect.succeed({ _tag: "Bytes" as const, bytes })
        }),
      referrers,
      tagged: (wanted) =>
        Effect.sync(() => {
          const found = [...names.values()].find((each) => Option.contains(each.name.tag, wanted))
          return Option.map(Option.fromNullable(found), ({ descriptor }) => descriptor)
        })
    })
  })

  const target: ImageTarget<ValidationError> = {
    name,
    open: Effect.sync(() => {
      const pending: Array<() => void> = []
      return {
        hasManifest: ({ digest }) => Effect.sync(() => manifests.has(digest)),
        isTagged: ({ digest }, name) => Effect.sync(() => names.get(nameKey(name))?.descriptor.digest === digest),
        referrers,
        writeBlob: <E1, R1>(write: BlobWrite<E1, R1>): Effect.Effect<BlobWritten, ValidationError | E1, R1> =>
          Effect.gen(function* () {
            if (Option.isSome(write.descriptor) && blobs.has(write.descriptor.value.digest)) {
              return { descriptor: write.descriptor.value, outcome: "Exists" as const }
            }
            const bytes = yield* bytesOf(name, write)
            const expected = Option.getOrUndefined(write.descriptor)
            const algorithm = expected === undefined ? "sha256" : Digest.algorithm(expected.digest)
            const digest = Digest.fromBytes(bytes, algorithm)
            if (expected !== undefined && (digest !== expected.digest || bytes.length !== expected.size)) {
              const message = `expected ${expected.digest} of ${expected.size} bytes, got ${digest} of ${bytes.length}`
              return yield* Effect.fail(ValidationError.of("DigestMismatch", name, message))
            }
            blobs.set(digest, bytes)
            return { descriptor: { mediaType: write.mediaType, digest, size: bytes.length }, outcome: "Sent" as const }
          }),
        writeManifest: (descriptor, bytes, given) =>
          Effect.gen(function* () {
            const { digest, mediaType } = descriptor
            const manifest = yield* Manifest.decode(bytes, { subject: `${name} ${digest}`, mediaType, digest })
            const subject = Referrer.subjectOf(manifest)
            pending.push(() => {
              manifests.set(digest, bytes)
              if (subject !== undefined) {
                const known = bySubject.get(subject.digest) ?? new Map<Digest.Digest, Descriptor>()
                bySubject.set(subject.digest, known.set(digest, Referrer.describe(manifest)))
              }
              for (const each of given) names.set(nameKey(each), { name: each, descriptor })
            })
          }),
        commit: Effect.sync(() => {
          for (const write of pending) write()
        })
      }
    })
  }

  return {
    source,
    target,
    blobs,
    manifests,
    get names() {
      return new Map([...names].map(([key, { descriptor }]) => [key, descriptor]))
    }
  }
}

// internal

const nameKey = ({ repository, tag }: ImageName): string =>
  [...Option.toArray(repository), ...Option.toArray(tag)].join(":")

const bytesOf = <E, R>(name: string, write: BlobWrite<E, R>): Effect.Effect<Uint8Array, E | ValidationError, R> =>
  Effect.gen(function* () {
    const content = yield* write.content
    const { bytes, compressed } = yield* collect(content)
    yield* checkDiffId(name, content, compressed)
    return bytes
  })
