/**
 * The independent judge: reads everything that can be reached from a reference, with plain fetch or by its own few lines,
 * verifies every digest and size, and returns the graph. It shares no code with what it judges.
 */
import { lstat, readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import type * as Effect from "effect/Effect"
import * as TarRead from "./TarRead.js"
import * as Verify from "./walk/Verify.js"

export { type Visited, WalkError } from "./walk/Verify.js"

export interface Graph {
  /** The manifest or index that the reference names. */
  readonly root: string
  /** By digest. */
  readonly manifests: ReadonlyMap<string, Verify.Visited>
  readonly blobs: ReadonlyMap<string, Verify.Visited>
  /** The digests of the configs, in the order of the images. */
  readonly configs: ReadonlyArray<string>
}

/** All that a repository or layout holds, as far as its tags lead: by what manifests name, and by what refers to them. */
export interface Contents {
  /** What each tag names, without the tags under which referrers are listed. */
  readonly tags: ReadonlyMap<string, string>
  readonly manifests: ReadonlyMap<string, Verify.Visited>
  readonly blobs: ReadonlyMap<string, Verify.Visited>
  /** Subject → the descriptors of its referrers, as they are listed. */
  readonly referrers: ReadonlyMap<string, ReadonlyArray<Verify.Descriptor>>
  /** Digests of what lies in a layout and nothing leads to. */
  readonly loose: ReadonlyArray<string>
}

/** The graph of `repository:reference` (or `repository@digest`) at a registry, without referrers. */
export const registry = (url: string, repository: string, reference: string): Effect.Effect<Graph, Verify.WalkError> =>
  Verify.attempt(`${url}/${repository} ${reference}`, async () => {
    const { blob, manifest } = requests(url, repository)
    const root = await manifest(reference)
    return graphOf(root, { manifest: ({ digest }) => manifest(digest), blob })
  })

/** The repository with all its tags and referrers: of the referrers API, else of the fallback tags. */
export const repository = (url: string, name: string): Effect.Effect<Contents, Verify.WalkError> =>
  Verify.attempt(`${url}/${name}`, async () => {
    const { blob, get, manifest } = requests(url, name)
    const { tags } = Verify.json<{ readonly tags: ReadonlyArray<string> | null }>((await get("tags/list")).bytes)
    const seen = Verify.nothingSeen()
    const named = new Map<string, string>()
    const listed = new Set((tags ?? []).filter((tag) => isFallback(tag)))
    const referrers = async (digest: string): Promise<ReadonlyArray<Verify.Descriptor>> => {
      const answer = await fetch(`${url}/v2/${name}/referrers/${digest}`)
      const bytes = new Uint8Array(await answer.arrayBuffer())
      if (answer.status === 200) return Verify.json<Verify.Document>(bytes).manifests ?? []
      if (answer.status !== 404) throw Verify.problem(digest, `referrers answers ${answer.status}`)
      const tag = fallbackTag(digest)
      return listed.has(tag) ? (Verify.json<Verify.Document>((await manifest(tag)).bytes).manifests ?? []) : []
    }
    for (const tag of (tags ?? []).filter((each) => !listed.has(each))) {
      const root = await manifest(tag)
      named.set(tag, Verify.sum(root.bytes))
      await Verify.walk(
        Verify.sum(root.bytes),
        root,
        { manifest: (each) => manifest(each.digest), blob, referrers },
        seen
      )
    }
    return { ...seen, tags: named, loose: [] }
  })

/** The graphs of a layout folder's index.json: of the entry with this tag or digest, else of all. No symlink is followed. */
export const layout = (folder: string, reference?: string): Effect.Effect<ReadonlyArray<Graph>, Verify.WalkError> =>
  Verify.attempt(folder, () => layoutGraphs(folder, reference, fileOf(folder)))

/** The whole layout folder. Referrers are those that index.json leads to. */
export const folder = (path: string): Effect.Effect<Contents, Verify.WalkError> =>
  Verify.attempt(path, async () => {
    const names = await readdir(path, { recursive: true, encoding: "utf8" })
    return layoutContents(names, fileOf(path))
  })

/** The same of an OCI layout in a tar (not compressed). */
export const ociArchive = (path: string, reference?: string): Effect.Effect<ReadonlyArray<Graph>, Verify.WalkError> =>
  Verify.attempt(path, async () => {
    const members = TarRead.read(new Uint8Array(await readFile(path)))
    return layoutGraphs(path, reference, async (name) => member(members, name))
  })

/** The whole of a tar that is an OCI layout (not compressed). */
export const archive = (path: string): Effect.Effect<Contents, Verify.WalkError> =>
  Verify.attempt(path, async () => archiveContents(new Uint8Array(await readFile(path))))

/** The same of its bytes. */
export const archiveBytes = (bytes: Uint8Array): Effect.Effect<Contents, Verify.WalkError> =>
  Verify.attempt("the archive", () => archiveContents(bytes))

/** An image of a docker-archive's manifest.json. */
export interface Loaded {
  readonly config: string
  readonly tags: ReadonlyArray<string>
  /** As the config has them; the layers' bytes, uncompressed where they are gzip, were found to have them. */
  readonly diffIds: ReadonlyArray<string>
}

/** What `docker load` would find in a tar. */
export const dockerArchive = (path: string): Effect.Effect<ReadonlyArray<Loaded>, Verify.WalkError> =>
  Verify.attempt(path, async () => {
    const members = TarRead.read(new Uint8Array(await readFile(path)))
    const listed: ReadonlyArray<DockerEntry> = Verify.json(member(members, "manifest.json"))
    return listed.map((entry) => {
      const config = member(members, entry.Config)
      const { rootfs } = Verify.json<{ readonly rootfs: { readonly diff_ids: ReadonlyArray<string> } }>(config)
      if (rootfs.diff_ids.length !== entry.Layers.length) throw Verify.problem(entry.Config, "other number of layers")
      for (const [at, name] of entry.Layers.entries()) {
        const bytes = member(members, name)
        const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? new Uint8Array(gunzipSync(bytes)) : bytes
        if (Verify.sum(plain) !== rootfs.diff_ids[at]) throw Verify.problem(name, `is not ${rootfs.diff_ids[at]}`)
      }
      return { config: Verify.sum(config), tags: entry.RepoTags ?? [], diffIds: rootfs.diff_ids }
    })
  })

// internal

const accept = [
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json"
].join(", ")

interface DockerEntry {
  readonly Config: string
  readonly RepoTags: ReadonlyArray<string> | null
  readonly Layers: ReadonlyArray<string>
}

const graphOf = async (root: Verify.Found, reader: Verify.Reader): Promise<Graph> => {
  const seen = Verify.nothingSeen()
  await Verify.walk(Verify.sum(root.bytes), root, reader, seen)
  return { root: Verify.sum(root.bytes), manifests: seen.manifests, blobs: seen.blobs, configs: seen.configs }
}

// ---- registries

const requests = (url: string, repository: string) => {
  const base = `${url.replace(/\/$/, "")}/v2/${repository}`
  const get = async (path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${base}/${path}`, { headers })
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (response.status !== 200) throw Verify.problem(path, `status ${response.status}`)
    const length = response.headers.get("content-length")
    if (length !== null && Number(length) !== bytes.length) {
      throw Verify.problem(path, `${bytes.length} bytes of ${length}`)
    }
    return { bytes, headers: response.headers }
  }
  const manifest = async (name: string): Promise<Verify.Found> => {
    const { bytes, headers } = await get(`manifests/${name}`, { accept })
    const said = headers.get("docker-content-digest")
    if (said !== null && said !== Verify.sum(bytes, said)) {
      throw Verify.problem(name, `Docker-Content-Digest is ${said}`)
    }
    return { bytes, mediaType: headers.get("content-type")?.split(";")[0] ?? "" }
  }
  const blob = async ({ digest }: Verify.Descriptor) => (await get(`blobs/${digest}`)).bytes
  return { get, manifest, blob }
}

/** https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema */
const fallbackTag = (digest: string): string => {
  const [algorithm = "", hex = ""] = digest.split(":")
  return `${algorithm}-${hex.slice(0, 64)}`
}

const isFallback = (tag: string): boolean => /^sha(?:256|512)-[0-9a-f]{64}$/.test(tag)

// ---- layouts

type ReadFile = (name: string) => Promise<Uint8Array>

const fileOf =
  (folder: string): ReadFile =>
  async (name) => {
    const path = join(folder, name)
    if (!(await lstat(path)).isFile()) throw Verify.problem(name, "is no regular file")
    return new Uint8Array(await readFile(path))
  }

const member = (members: ReadonlyMap<string, Uint8Array>, name: string): Uint8Array => {
  const bytes = members.get(name)
  if (bytes === undefined) throw Verify.problem(name, "is not in the archive")
  return bytes
}

const archiveContents = (bytes: Uint8Array): Promise<Contents> => {
  const members = TarRead.read(bytes)
  return layoutContents([...members.keys()], async (name) => member(members, name))
}

const readIndex = async (read: ReadFile): Promise<ReadonlyArray<Verify.Descriptor>> => {
  const marker = Verify.json<{ readonly imageLayoutVersion?: string }>(await read("oci-layout"))
  if (marker.imageLayoutVersion !== "1.0.0") {
    throw Verify.problem("oci-layout", `version ${marker.imageLayoutVersion}`)
  }
  return Verify.json<Verify.Document>(await read("index.json")).manifests ?? []
}

const layoutReader = (read: ReadFile): Pick<Verify.Reader, "manifest" | "blob"> => {
  const blob = ({ digest }: Verify.Descriptor) => read(`blobs/${digest.replace(":", "/")}`)
  return { blob, manifest: async (each) => ({ bytes: await blob(each), mediaType: each.mediaType }) }
}

const tagOf = ({ annotations }: Verify.Descriptor): string | undefined =>
  annotations?.["org.opencontainers.image.ref.name"]

const layoutGraphs = async (
  subject: string,
  reference: string | undefined,
  read: ReadFile
): Promise<ReadonlyArray<Graph>> => {
  const reader = layoutReader(read)
  const chosen = (await readIndex(read)).filter(
    (each) => reference === undefined || reference === each.digest || reference === tagOf(each)
  )
  if (chosen.length === 0) throw Verify.problem(subject, `index.json has no ${reference ?? "entries"}`)
  return Promise.all(
    chosen.map(async (descriptor) => {
      const found = await reader.manifest(descriptor)
      Verify.check(descriptor, found.bytes)
      return graphOf(found, reader)
    })
  )
}

const layoutContents = async (names: ReadonlyArray<string>, read: ReadFile): Promise<Contents> => {
  const reader = layoutReader(read)
  const entries = await readIndex(read)
  const subjects = await bySubject(entries, reader)
  const seen = Verify.nothingSeen()
  const tags = new Map<string, string>()
  for (const entry of entries) {
    const tag = tagOf(entry)
    if (tag === undefined) continue
    if (tags.has(tag)) throw Verify.problem(tag, "stands in index.json twice")
    tags.set(tag, entry.digest)
    const found = await reader.manifest(entry)
    Verify.check(entry, found.bytes)
    await Verify.walk(entry.digest, found, { ...reader, referrers: async (digest) => subjects.get(digest) ?? [] }, seen)
  }
  const stored = names.flatMap((name) => {
    const [, algorithm, hex] = /^blobs\/(sha256|sha512)\/([0-9a-f]+)$/.exec(name) ?? []
    return algorithm === undefined ? [] : [`${algorithm}:${hex}`]
  })
  const loose = stored.filter((digest) => !seen.manifests.has(digest) && !seen.blobs.has(digest))
  return { ...seen, tags, loose }
}

/** Subject → what index.json leads to and refers to it, by whatever name. */
const bySubject = async (
  entries: ReadonlyArray<Verify.Descriptor>,
  { blob }: Pick<Verify.Reader, "blob">
): Promise<ReadonlyMap<string, ReadonlyArray<Verify.Descriptor>>> => {
  const found = new Map<string, Array<Verify.Descriptor>>()
  const visited = new Set<string>()
  const visit = async (descriptor: Verify.Descriptor): Promise<void> => {
    if (visited.has(descriptor.digest)) return
    visited.add(descriptor.digest)
    const { manifests = [], subject } = Verify.json<Verify.Document>(await blob(descriptor))
    if (subject !== undefined) found.set(subject.digest, [...(found.get(subject.digest) ?? []), descriptor])
    for (const each of manifests) await visit(each)
  }
  for (const entry of entries) await visit(entry)
  return found
}
