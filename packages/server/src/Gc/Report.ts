/** What a collection did, in a bounded amount of memory. */
import type { Digest } from "@effect-registry/core"

/** What left a repository. `size` is in bytes. */
export type Removed =
  | {
      readonly kind: "manifest" | "blob"
      readonly repository: string
      readonly digest: Digest.Digest
      readonly size: number
    }
  | { readonly kind: "upload"; readonly repository: string; readonly id: string; readonly size: number }

/** A repository that was left as it is, and the manifest that is the cause of it, where one is. */
export interface Kept {
  readonly repository: string
  readonly digest?: Digest.Digest | undefined
  readonly why: string
}

/** As many of each are told one by one. */
const listed = 1000

export const makeReport = () => {
  const removed: Array<Removed> = []
  const kept: Array<Kept> = []
  let removedCount = 0
  let manifests = 0
  let uploads = 0
  return {
    add: (entry: Removed) => {
      removedCount += 1
      if (entry.kind === "manifest") manifests += 1
      if (entry.kind === "upload") uploads += 1
      if (removed.length < listed) removed.push(entry)
    },
    keep: (entry: Kept) => {
      if (kept.length < listed) kept.push(entry)
    },
    done: () => ({ removed, removedCount, manifests, uploads, kept })
  }
}
