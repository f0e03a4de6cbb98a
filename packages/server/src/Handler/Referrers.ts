/** What refers to a manifest. https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md#listing-referrers */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { type Digest, MediaType } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { ManifestStore, type Part, type Referrer, sizeOf } from "../ManifestStore.js"

export interface Wanted {
  /** Only those of this type. */
  readonly artifactType: string | undefined
  /** The digest that the page before ended with. */
  readonly last: string | undefined
}

/**
 * Clients take manifests of 4 MiB at least, and this list is one; annotations make it as long as its authors like.
 * https://github.com/opencontainers/distribution-spec/blob/967efdc/spec.md#pushing-manifests
 */
const maxSize = 4 << 20

/** An index of the manifests that refer to a digest; empty where none do, also for a digest or repository never seen. */
export const list = (name: string, subject: Digest.Digest, wanted: Wanted) =>
  Effect.gen(function* () {
    const store = yield* ManifestStore
    const { items, next } = yield* page((part) => store.referrers(name, subject, part), wanted)
    const text = `${head}${items.join(",")}]}`
    return HttpServerResponse.text(text, {
      contentType: MediaType.ociIndex,
      headers: {
        ...(wanted.artifactType === undefined ? {} : { "oci-filters-applied": "artifactType" }),
        ...(next === undefined ? {} : { link: `<${linkTo(name, subject, { ...wanted, last: next })}>; rel="next"` })
      }
    })
  })

/** As many entries, as JSON, as fit into one index, one at least; `next` is the last of them where others follow. */
export const page = <E>(
  read: (part: Part) => Effect.Effect<ReadonlyArray<Referrer>, E>,
  { artifactType, last }: Wanted,
  size: number = maxSize
) =>
  Effect.gen(function* () {
    const items: Array<string> = []
    let length = head.length + 2
    let end: Digest.Digest | undefined
    for (let after = last; ; ) {
      // Never all at once: they may have megabytes each.
      const part = yield* read({ after, size })
      for (const entry of part) {
        after = entry.digest
        if (artifactType !== undefined && entry.artifactType !== artifactType) continue
        const item = JSON.stringify(entry)
        length += Buffer.byteLength(item) + 1
        if (end !== undefined && length > size) return { items, next: end }
        items.push(item)
        end = entry.digest
      }
      if (part.reduce((sum, entry) => sum + sizeOf(entry), 0) < size) return { items, next: undefined }
    }
  })

// internal

const head = `{"schemaVersion":2,"mediaType":"${MediaType.ociIndex}","manifests":[`

const linkTo = (name: string, subject: Digest.Digest, { artifactType, last }: Wanted): string => {
  const query = new URLSearchParams({ ...(artifactType === undefined ? {} : { artifactType }), last: last ?? "" })
  return `/v2/${name}/referrers/${subject}?${query}`
}
