/** A small image as a scripted registry serves it. */
import { Descriptor, Digest, Json, Manifest, MediaType, type Platform } from "@effect-registry/core"
import type { Answer } from "./ScriptedClient.js"

export interface Image {
  readonly config: Uint8Array
  readonly configDescriptor: Descriptor.Descriptor
  readonly layer: Descriptor.Descriptor
  readonly diffId: Digest.Digest
  readonly manifest: Manifest.Manifest
}

export const image = (extra: Readonly<Record<string, unknown>> = {}): Image => {
  const diffId = Digest.fromBytes(Json.encode("layer"))
  const config = Json.encode({
    architecture: "amd64",
    os: "linux",
    created: "2024-05-01T10:00:00Z",
    config: {
      Env: ["PATH=/bin"],
      Cmd: ["serve"],
      Entrypoint: ["/app"],
      User: "app",
      WorkingDir: "/srv",
      ExposedPorts: { "8080/tcp": {} },
      Labels: { team: "x" }
    },
    rootfs: { type: "layers", diff_ids: [diffId] },
    history: [{ created_by: "ENV x", empty_layer: true }, { created_by: "COPY . /" }],
    ...extra
  })
  const configDescriptor = Descriptor.make(MediaType.ociConfig, Digest.fromBytes(config), config.length)
  const layer = Descriptor.make(MediaType.ociLayerGzip, Digest.fromBytes(Json.encode("gzip")), 1000)
  const manifest = Manifest.assemble("oci", configDescriptor, [layer])
  return { config, configDescriptor, layer, diffId, manifest }
}

export const index = (children: ReadonlyArray<readonly [Manifest.Manifest, Platform.Platform]>): Manifest.Manifest =>
  Manifest.assembleIndex(
    MediaType.ociIndex,
    children.map(([{ descriptor }, platform]) => ({ ...descriptor, platform }))
  )

/** GET and HEAD of a manifest under a tag and its digest. */
export const serve = (
  repository: string,
  tag: string | undefined,
  { bytes, descriptor }: Manifest.Manifest
): Record<string, Answer> => {
  const headers = { "content-type": descriptor.mediaType, "docker-content-digest": descriptor.digest }
  const get = { status: 200, body: bytes, headers }
  const head = { status: 200, headers: { ...headers, "content-length": String(bytes.length) } }
  const path = `/v2/${repository}/manifests`
  return {
    [`GET ${path}/${descriptor.digest}`]: get,
    [`HEAD ${path}/${descriptor.digest}`]: head,
    ...(tag === undefined ? {} : { [`GET ${path}/${tag}`]: get, [`HEAD ${path}/${tag}`]: head })
  }
}
