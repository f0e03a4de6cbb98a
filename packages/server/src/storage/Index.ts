/**
 * The `index.json` of a repository's OCI layout, made from its tags and manifests for other tools to read. Whether it is still
 * true is told by time stamps, without reading it.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md#indexjson-file
 */
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs/promises"
import { join } from "node:path"
import { type Digest, MediaType } from "@effect-registry/core"
import * as Files from "./Files.js"
import { algorithms, type Layout } from "./Layout.js"

export interface Manifest {
  readonly mediaType: string
  /** Bytes. */
  readonly size: number
  /** The manifests that an index names. */
  readonly children?: ReadonlyArray<Digest.Digest> | undefined
}

export interface Content {
  /** By name, sorted. */
  readonly tags: ReadonlyMap<string, Digest.Digest>
  readonly manifests: ReadonlyMap<Digest.Digest, Manifest>
}

/** One entry a tag, then one for each manifest that neither a tag nor an index here leads to. */
export const render = ({ manifests, tags }: Content): string => {
  const entries: Array<object> = []
  const reached = new Set<Digest.Digest>(tags.values())
  for (const { children = [] } of manifests.values()) for (const child of children) reached.add(child)
  const describe = (digest: Digest.Digest, extra: object) => {
    const found = manifests.get(digest)
    if (found !== undefined) entries.push({ mediaType: found.mediaType, digest, size: found.size, ...extra })
  }
  for (const [tag, digest] of tags) describe(digest, { annotations: { "org.opencontainers.image.ref.name": tag } })
  for (const digest of [...manifests.keys()].sort()) if (!reached.has(digest)) describe(digest, {})
  return JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: entries })
}

/**
 * Writes it from what `read` gives. Its time becomes that of the newest folder it was made from, as it was before reading:
 * another time of a folder means that something changed since. No folder is locked: what changes meanwhile makes it stale.
 */
export const write = async (layout: Layout, repository: string, read: () => Promise<Content>): Promise<void> => {
  const newest = await newestChange(layout, repository)
  const temporary = join(layout.tmp, randomUUID())
  try {
    const text = render(await read())
    await Fs.mkdir(layout.image(repository), { recursive: true })
    await writeMarker(layout, repository)
    await Fs.writeFile(temporary, text)
    // A change within the same tick of the file system's clock would leave the folder's time as it is.
    const settled = Date.now() - newest > (newest % 1000 === 0 ? 2000 : 100)
    const time = (settled ? Math.floor(newest) : Math.floor(newest) - 1000) / 1000
    await Fs.utimes(temporary, time, time)
    await Fs.rename(temporary, layout.index(repository))
  } catch (cause) {
    await Fs.rm(temporary, { force: true })
    throw cause
  }
}

/** Whether it is missing or something changed since it was made; `false` where the repository never had a manifest. */
export const isStale = async (layout: Layout, repository: string): Promise<boolean> => {
  const newest = await newestChange(layout, repository)
  if (newest === 0) return false
  const index = await Files.ifThere(Fs.stat(layout.index(repository)))
  return index === undefined || index.size === 0 || Math.round(index.mtimeMs) !== Math.floor(newest)
}

// internal

/** When an entry of a folder that the index is made from last changed, in milliseconds; 0 where there is none. */
const newestChange = async (layout: Layout, repository: string): Promise<number> => {
  const folders = [layout.tags(repository), ...algorithms.map((algorithm) => layout.manifests(repository, algorithm))]
  const found = await Promise.all(folders.map((folder) => Files.ifThere(Fs.stat(folder))))
  return Math.max(0, ...found.map((each) => each?.mtimeMs ?? 0))
}

const writeMarker = async (layout: Layout, repository: string): Promise<void> => {
  const path = join(layout.image(repository), "oci-layout")
  if (((await Files.sizeOf(path)) ?? 0) > 0) return
  const temporary = join(layout.tmp, randomUUID())
  await Fs.writeFile(temporary, '{"imageLayoutVersion":"1.0.0"}')
  await Fs.rename(temporary, path)
}
