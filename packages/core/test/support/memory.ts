/** Images made in memory, and sources that tell what was read of them. */
import type { ImageReader, ImageSource, ImageWriter, MemoryStore } from "@effect-registry/core"
import { Descriptor, Digest, Manifest, MediaType, type ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

export const text = (value: string) => new TextEncoder().encode(value)

/** What a store holds, written through its target so that it went through the same checks. */
export const seed = (store: MemoryStore.MemoryStore) => {
  const run = <A>(write: (writer: ImageWriter<ValidationError>) => Effect.Effect<A, ValidationError>) =>
    Effect.scoped(
      Effect.gen(function* () {
        const writer = yield* store.target.open
        const result = yield* write(writer)
        yield* writer.commit ?? Effect.void
        return result
      })
    )
  const blob = (mediaType: string, bytes: Uint8Array) => {
    const descriptor = Descriptor.make(mediaType, Digest.fromBytes(bytes), bytes.length)
    return run((writer) =>
      Effect.as(
        writer.writeBlob({
          descriptor: Option.some(descriptor),
          mediaType,
          content: Effect.succeed({ _tag: "Bytes" as const, bytes }),
          alsoIn: []
        }),
        descriptor
      )
    )
  }
  const manifest = (made: Manifest.Manifest, tags: ReadonlyArray<string> = []) =>
    run((writer) =>
      Effect.as(
        writer.writeManifest(
          made.descriptor,
          made.bytes,
          tags.map((tag) => ({ repository: Option.some("app"), tag: Option.some(tag) }))
        ),
        made.descriptor
      )
    )
  const image = (name: string, layers: ReadonlyArray<string>, tags: ReadonlyArray<string> = []) =>
    Effect.gen(function* () {
      const config = yield* blob(
        MediaType.ociConfig,
        text(`{"rootfs":{"type":"layers","diff_ids":[]},"author":"${name}"}`)
      )
      const parts = yield* Effect.forEach(layers, (layer) => blob(MediaType.ociLayer, text(layer)))
      return yield* manifest(Manifest.assemble("oci", config, parts), tags)
    })
  return { blob, manifest, image }
}

/** The store's source with every read recorded, and blobs replaced where asked. */
export const recorded = (
  source: ImageSource<ValidationError>,
  change: Partial<ImageReader<ValidationError>> = {}
): { readonly source: ImageSource<ValidationError>; readonly reads: Array<string> } => {
  const reads: Array<string> = []
  return {
    reads,
    source: {
      name: source.name,
      open: Effect.map(source.open, (reader) => ({
        ...reader,
        blob: (descriptor) => {
          reads.push(descriptor.digest)
          return reader.blob(descriptor)
        },
        ...change
      }))
    }
  }
}
