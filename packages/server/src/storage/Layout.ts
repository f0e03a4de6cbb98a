/**
 * Where everything lies in the folder of a registry; docs/registry-storage.md says what each file means.
 *
 * ```
 * registry.json                                    the version of this format
 * blobs/<algorithm>/<hex>                          the bytes of every blob and manifest, once, never changed
 * repositories/<name>/_layout/                     an OCI layout that other tools read: oci-layout, index.json and
 *                      blobs/<algorithm>/<hex>     what this repository may read: a hard link to the shared file
 * repositories/<name>/_manifests/<algorithm>/<hex> that this blob is a manifest, and of what kind, as JSON
 * repositories/<name>/_referrers/<algorithm>/<hex of the subject>/<algorithm>-<hex>   a referrer's descriptor as JSON
 * repositories/<name>/_tags/<tag>                  the digest it names, as text
 * repositories/<name>/_uploads/<uuid>              an unfinished upload: the bytes received so far
 * tmp/                                             files that are not yet complete
 * ```
 *
 * No part of a repository name starts with `_`, so `a` and `a/b` never collide with the folders of `a`. A file appears under
 * its final name by link or rename, whole and verified, so a process that is killed leaves at most an upload or a file in
 * `tmp`. The link count of a shared file says how many repositories hold it; where the file system has no hard links, or has
 * run out of them for a file, the repository gets a copy. `index.json` is derived from tags and manifests, a little later.
 *
 * Tags that differ in case only need a file system that tells them apart. Names reach this module only after the grammar of
 * repository, tag and digest was checked.
 */
import { join } from "node:path"
import { Digest } from "@effect-registry/core"

export interface Layout {
  readonly root: string
  /** The version of the format. */
  readonly version: string
  /** The folder of all shared files of one algorithm. */
  readonly contents: (algorithm: string) => string
  readonly repositories: string
  readonly tmp: string
  /** The shared file of a digest. */
  readonly content: (digest: Digest.Digest) => string
  /** A repository's own folders and files. */
  readonly repository: (repository: string) => string
  /** The OCI layout that other tools read. */
  readonly image: (repository: string) => string
  readonly index: (repository: string) => string
  readonly blobs: (repository: string, algorithm: string) => string
  readonly blob: (repository: string, digest: Digest.Digest) => string
  readonly manifests: (repository: string, algorithm: string) => string
  readonly manifest: (repository: string, digest: Digest.Digest) => string
  readonly referrers: (repository: string, subject: Digest.Digest) => string
  readonly referrer: (repository: string, subject: Digest.Digest, digest: Digest.Digest) => string
  readonly tags: (repository: string) => string
  readonly tag: (repository: string, tag: string) => string
  readonly uploads: (repository: string) => string
  readonly upload: (repository: string, id: string) => string
}

export const algorithms = ["sha256", "sha512"] as const

export const make = (root: string): Layout => {
  const repositories = join(root, "repositories")
  const own = (repository: string, ...parts: ReadonlyArray<string>) => join(repositories, repository, ...parts)
  const path = (digest: Digest.Digest) => join(Digest.algorithm(digest), Digest.hex(digest))
  const referrers = (repository: string, subject: Digest.Digest) => own(repository, "_referrers", path(subject))
  return {
    root,
    version: join(root, "registry.json"),
    contents: (algorithm) => join(root, "blobs", algorithm),
    repositories,
    tmp: join(root, "tmp"),
    content: (digest) => join(root, "blobs", path(digest)),
    repository: (repository) => own(repository),
    image: (repository) => own(repository, "_layout"),
    index: (repository) => own(repository, "_layout", "index.json"),
    blobs: (repository, algorithm) => own(repository, "_layout", "blobs", algorithm),
    blob: (repository, digest) => own(repository, "_layout", "blobs", path(digest)),
    manifests: (repository, algorithm) => own(repository, "_manifests", algorithm),
    manifest: (repository, digest) => own(repository, "_manifests", path(digest)),
    referrers,
    referrer: (repository, subject, digest) => join(referrers(repository, subject), digest.replace(":", "-")),
    tags: (repository) => own(repository, "_tags"),
    tag: (repository, tag) => own(repository, "_tags", tag),
    uploads: (repository) => own(repository, "_uploads"),
    upload: (repository, id) => own(repository, "_uploads", id)
  }
}
