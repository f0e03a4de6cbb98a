/**
 * The independent judge: reads everything that can be reached from a reference, with plain fetch or by its own few lines,
 * verifies every digest and size, and returns the graph. It shares no code with what it judges.
 */
import { createHash } from "node:crypto"
import { lstat, readFile } from "node:fs/promises"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as TarRead from "./TarRead.js"

/** Something is missing, or not what its descriptor says. */
export class WalkError extends Data.TaggedError("WalkError")<{ readonly subject: string; readonly problem: string }> {
  override get message(): string {
    return `${this.subject}: ${this.problem}`
  }
}

export interface Visited {
  readonly mediaType: string
  readonly size: number
  readonly bytes: Uint8Array
}

export interface Graph {
  /** The manifest or index that the reference names. */
  readonly root: string
  /** By digest. */
  readonly manifests: ReadonlyMap<string, Visited>
  readonly blobs: ReadonlyMap<string, Visited>
  /** The digests of the configs, in the order of the images. */
  readonly configs: ReadonlyArray<string>
}

/** The graph of `repository:reference` (or `repository@digest`) at a registry. */
export const registry = (url: string, repository: string, reference: string): Effect.Effect<Graph, WalkError> =>
  attempt(`${url}/${repository} ${reference}`, async () => {
    const base = `${url.replace(/\/$/, "")}/v2/${repository}`
    const get = async (path: string, headers: Record<string, string> = {}) => {
      const response = await fetch(`${base}/${path}`, { headers })
      const bytes = new Uint8Array(await response.arrayBuffer())
      if (response.status !== 200) throw problem(path, `status ${response.status}`)
      const length = response.headers.get("content-length")
      if (length !== null && Number(length) !== bytes.length) throw problem(path, `${bytes.length} bytes of ${length}`)
      return { bytes, headers: response.headers }
    }
    const manifest = async (name: string): Promise<Found> => {
      const { bytes, headers } = await get(`manifests/${name}`, { accept })
      const said = headers.get("docker-content-digest")
      if (said !== null && said !== sum(bytes, said)) throw problem(name, `Docker-Content-Digest is ${said}`)
      return { bytes, mediaType: headers.get("content-type")?.split(";")[0] ?? "" }
    }
    const root = await manifest(reference)
    return walk(root, {
      manifest: ({ digest }) => manifest(digest),
      blob: async ({ digest }) => (await get(`blobs/${digest}`)).bytes
    })
  })

/** The graphs of a layout folder's index.json: of the entry with this tag or digest, else of all. No symlink is followed. */
export const layout = (folder: string, reference?: string): Effect.Effect<ReadonlyArray<Graph>, WalkError> =>
  attempt(folder, () =>
    walkLayout(folder, reference, async (name) => {
      const path = join(folder, name)
      if (!(await lstat(path)).isFile()) throw problem(name, "is no regular file")
      return new Uint8Array(await readFile(path))
    })
  )

/** The same of an OCI layout in a tar (not compressed). */
export const ociArchive = (path: string, reference?: string): Effect.Effect<ReadonlyArray<Graph>, WalkError> =>
  attempt(path, async () => {
    const members = TarRead.read(new Uint8Array(await readFile(path)))
    return walkLayout(path, reference, async (name) => member(members, name))
  })

/** An image of a docker-archive's manifest.json. */
export interface Loaded {
  readonly config: string
  readonly tags: ReadonlyArray<string>
  /** As the config has them; the layers' bytes, uncompressed where they are gzip, were found to have them. */
  readonly diffIds: ReadonlyArray<string>
}

/** What `docker load` would find in a tar. */
export const dockerArchive = (path: string): Effect.Effect<ReadonlyArray<Loaded>, WalkError> =>
  attempt(path, async () => {
    const members = TarRead.read(new Uint8Array(await readFile(path)))
    const listed: ReadonlyArray<DockerEntry> = json(member(members, "manifest.json"))
    return listed.map((entry) => {
      const config = member(members, entry.Config)
      const { rootfs } = json<{ readonly rootfs: { readonly diff_ids: ReadonlyArray<string> } }>(config)
      if (rootfs.diff_ids.length !== entry.Layers.length) throw problem(entry.Config, "other number of layers")
      for (const [at, name] of entry.Layers.entries()) {
        const bytes = member(members, name)
        const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? new Uint8Array(gunzipSync(bytes)) : bytes
        if (sum(plain) !== rootfs.diff_ids[at]) throw problem(name, `is not the diff ID ${rootfs.diff_ids[at]}`)
      }
      return { config: sum(config), tags: entry.RepoTags ?? [], diffIds: rootfs.diff_ids }
    })
  })

// internal

const accept = [
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.oci.image.index.v1+json"
].join(", ")

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>> | null
}

interface DockerEntry {
  readonly Config: string
  readonly RepoTags: ReadonlyArray<string> | null
  readonly Layers: ReadonlyArray<string>
}

interface Document {
  readonly mediaType?: string
  readonly config?: Descriptor
  readonly layers?: ReadonlyArray<Descriptor>
  readonly manifests?: ReadonlyArray<Descriptor>
}

interface Found {
  readonly bytes: Uint8Array
  readonly mediaType: string
}

interface Reader {
  readonly manifest: (descriptor: Descriptor) => Promise<Found>
  readonly blob: (descriptor: Descriptor) => Promise<Uint8Array>
}

const attempt = <A>(subject: string, run: () => Promise<A>): Effect.Effect<A, WalkError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => (cause instanceof WalkError ? cause : problem(subject, String(cause)))
  })

const problem = (subject: string, text: string) => new WalkError({ subject, problem: text })

const json = <A>(bytes: Uint8Array): A => JSON.parse(new TextDecoder().decode(bytes))

/** With the algorithm of `like`. */
const sum = (bytes: Uint8Array, like = "sha256:"): string => {
  const algorithm = like.slice(0, like.indexOf(":"))
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`
}

const member = (members: ReadonlyMap<string, Uint8Array>, name: string): Uint8Array => {
  const bytes = members.get(name)
  if (bytes === undefined) throw problem(name, "is not in the archive")
  return bytes
}

const walkLayout = async (
  subject: string,
  reference: string | undefined,
  read: (name: string) => Promise<Uint8Array>
): Promise<ReadonlyArray<Graph>> => {
  const marker = json<{ readonly imageLayoutVersion?: string }>(await read("oci-layout"))
  if (marker.imageLayoutVersion !== "1.0.0") throw problem("oci-layout", `version ${marker.imageLayoutVersion}`)
  const { manifests = [] } = json<Document>(await read("index.json"))
  const named = ({ annotations, digest }: Descriptor) =>
    reference === undefined || reference === digest || reference === annotations?.["org.opencontainers.image.ref.name"]
  const blob = ({ digest }: Descriptor) => read(`blobs/${digest.replace(":", "/")}`)
  const chosen = manifests.filter(named)
  if (chosen.length === 0) throw problem(subject, `index.json has no ${reference ?? "entries"}`)
  return Promise.all(
    chosen.map(async (descriptor) => {
      const manifest = async (each: Descriptor) => ({ bytes: await blob(each), mediaType: each.mediaType })
      const found = await manifest(descriptor)
      check(descriptor, found.bytes)
      return walk(found, { manifest, blob })
    })
  )
}

const check = ({ digest, size }: Descriptor, bytes: Uint8Array): void => {
  if (bytes.length !== size) throw problem(digest, `${bytes.length} bytes, its descriptor says ${size}`)
  if (sum(bytes, digest) !== digest) throw problem(digest, `the bytes are ${sum(bytes, digest)}`)
}

const walk = async (root: Found, reader: Reader): Promise<Graph> => {
  const manifests = new Map<string, Visited>()
  const blobs = new Map<string, Visited>()
  const configs: Array<string> = []
  const visit = async (digest: string, { bytes, mediaType }: Found): Promise<void> => {
    if (manifests.has(digest)) return
    manifests.set(digest, { mediaType, size: bytes.length, bytes })
    const document = json<Document>(bytes)
    if (document.mediaType !== undefined && document.mediaType !== mediaType) {
      throw problem(digest, `came as ${mediaType} and says ${document.mediaType}`)
    }
    for (const child of document.manifests ?? []) {
      const found = await reader.manifest(child)
      check(child, found.bytes)
      if (found.mediaType !== child.mediaType) throw problem(child.digest, `came as ${found.mediaType}`)
      await visit(child.digest, found)
    }
    if (document.config !== undefined) configs.push(document.config.digest)
    for (const each of [...(document.config === undefined ? [] : [document.config]), ...(document.layers ?? [])]) {
      if (blobs.has(each.digest)) continue
      const content = await reader.blob(each)
      check(each, content)
      blobs.set(each.digest, { mediaType: each.mediaType, size: content.length, bytes: content })
    }
  }
  const digest = sum(root.bytes)
  await visit(digest, root)
  return { root: digest, manifests, blobs, configs }
}
