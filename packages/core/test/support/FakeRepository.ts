/** A registry with one repository `r.example/a`, in memory and under the test's clock. */
import { Digest, Json, Manifest, MediaType, Referrer } from "@effect-registry/core"
import type { Answer, Seen } from "./ScriptedClient.js"
import * as Scripted from "./ScriptedClient.js"

export interface About {
  /** Of the config; an object stands there as it is. */
  readonly created?: unknown
  readonly annotations?: Readonly<Record<string, string>> | undefined
  readonly subject?: Digest.Digest | undefined
}

export interface Options {
  /** docker-registry 2.8: a tag is no name for a deletion. Default false. */
  readonly deletesByDigestOnly?: boolean | undefined
  /** Default true. */
  readonly referrers?: boolean | undefined
  /** Answers in the place of the repository. */
  readonly change?: ((request: Seen) => Answer | undefined) | undefined
}

export const make = (options: Options = {}) => {
  const manifests = new Map<string, Manifest.Manifest>()
  const blobs = new Map<string, Uint8Array>()
  const tags = new Map<string, Digest.Digest>()
  let serial = 0

  const store = (manifest: Manifest.Manifest): Digest.Digest => {
    manifests.set(manifest.descriptor.digest, manifest)
    return manifest.descriptor.digest
  }
  const extras = ({ annotations, subject }: About) => {
    const of = subject === undefined ? undefined : manifests.get(subject)?.descriptor
    return { ...(annotations === undefined ? {} : { annotations }), ...(of === undefined ? {} : { subject: of }) }
  }
  /** An image, never the same twice; its digest. */
  const image = (about: About = {}): Digest.Digest => {
    const config = Json.encode({
      architecture: "amd64",
      os: "linux",
      ...(about.created === undefined ? {} : { created: about.created }),
      serial: ++serial,
      rootfs: { type: "layers", diff_ids: [] }
    })
    const digest = Digest.fromBytes(config)
    blobs.set(digest, config)
    const descriptor = { mediaType: MediaType.ociConfig, digest, size: config.length }
    return store(
      Manifest.ofImage({
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        config: descriptor,
        layers: [],
        ...extras(about)
      })
    )
  }
  /** An index of these; its digest. `unknown`: those that describe another one; `mediaType`: what it says they are. */
  const index = (
    children: ReadonlyArray<Digest.Digest>,
    about: About & {
      readonly unknown?: ReadonlyArray<Digest.Digest>
      readonly mediaType?: string | undefined
    } = {}
  ) => {
    const described = children.flatMap((child) => {
      const stored = manifests.get(child)?.descriptor
      if (stored === undefined) return []
      const descriptor = { ...stored, mediaType: about.mediaType ?? stored.mediaType }
      const platform = about.unknown?.includes(child) === true ? "unknown" : undefined
      return [
        platform === undefined ? descriptor : { ...descriptor, platform: { os: platform, architecture: platform } }
      ]
    })
    const annotations = { ...about.annotations, serial: String(++serial) }
    return store(
      Manifest.ofIndex({
        schemaVersion: 2,
        mediaType: MediaType.ociIndex,
        manifests: described,
        ...extras({ ...about, annotations })
      })
    )
  }
  const tag = (name: string, digest: Digest.Digest): Digest.Digest => {
    tags.set(name, digest)
    return digest
  }

  const script = Scripted.make((request) => options.change?.(request) ?? answer(request))
  const answer = ({ body, headers, method, path }: Seen): Answer => {
    const [, kind = "", name = ""] = /^\/v2\/a\/(tags|manifests|blobs|referrers)\/([^?]+)/.exec(path) ?? []
    if (kind === "tags") return { status: 200, body: JSON.stringify({ name: "a", tags: [...tags.keys()] }) }
    if (kind === "blobs") return found(blobs.get(name), {})
    if (kind === "referrers") return options.referrers === false ? { status: 404 } : listReferrers(name)
    const digest = tags.get(name) ?? name
    if (method === "PUT") {
      const manifest = Manifest.decode(body, { subject: name, mediaType: headers["content-type"] })
      if (manifest._tag === "Left") return { status: 400 }
      store(manifest.right)
      if (!Digest.is(name)) tags.set(name, manifest.right.descriptor.digest)
      return { status: 201 }
    }
    if (method === "DELETE") return remove(name)
    const manifest = manifests.get(digest)
    return found(manifest?.bytes, {
      "content-type": manifest?.descriptor.mediaType ?? "",
      "docker-content-digest": digest
    })
  }
  const remove = (name: string): Answer => {
    if (!Digest.is(name)) {
      if (options.deletesByDigestOnly === true) return { status: 400, body: `{"errors":[{"code":"DIGEST_INVALID"}]}` }
      return { status: tags.delete(name) ? 202 : 404 }
    }
    if (!manifests.delete(name)) return { status: 404 }
    for (const [tagged, digest] of tags) if (digest === name) tags.delete(tagged)
    return { status: 202 }
  }
  const listReferrers = (subject: string): Answer => {
    const listed = [...manifests.values()].filter((each) => Referrer.subjectOf(each)?.digest === subject)
    const value = { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: listed.map(Referrer.describe) }
    return { status: 200, body: JSON.stringify(value), headers: { "content-type": MediaType.ociIndex } }
  }
  return { ...script, manifests, blobs, tags, image, index, tag, store }
}

const found = (body: Uint8Array | undefined, headers: Readonly<Record<string, string>>): Answer =>
  body === undefined
    ? { status: 404 }
    : { status: 200, body, headers: { ...headers, "content-length": String(body.length) } }
