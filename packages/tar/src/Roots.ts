/** The manifests that a run wrote to a layout or archive, and which of them its index.json names. */
import type { ImageName } from "@effect-registry/core"
import { type Digest, Manifest } from "@effect-registry/core"

/** An image or artifact of its own and the names it got. */
export interface Root {
  readonly manifest: Manifest.Manifest
  readonly names: ReadonlyArray<ImageName>
}

export interface Roots {
  readonly add: (manifest: Manifest.Manifest, names: ReadonlyArray<ImageName>) => void
  readonly find: (digest: Digest.Digest) => Manifest.Manifest | undefined
  readonly digests: () => Iterable<Digest.Digest>
  /** In the order they were written, each once: what got a name, and what no index of this run names. */
  readonly list: () => ReadonlyArray<Root>
}

export const make = (): Roots => {
  const written = new Map<Digest.Digest, { readonly manifest: Manifest.Manifest; readonly names: Array<ImageName> }>()
  const children = new Set<Digest.Digest>()
  return {
    add: (manifest, names) => {
      const { digest } = manifest.descriptor
      const known = written.get(digest)
      if (known === undefined) written.set(digest, { manifest, names: [...names] })
      else known.names.push(...names)
      for (const child of Manifest.children(manifest)) children.add(child.digest)
    },
    find: (digest) => written.get(digest)?.manifest,
    digests: () => written.keys(),
    list: () =>
      [...written.values()].filter(
        ({ manifest, names }) => names.length > 0 || !children.has(manifest.descriptor.digest)
      )
  }
}
