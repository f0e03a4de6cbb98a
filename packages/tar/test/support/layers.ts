/** Images in memory, from layers that a test writes down, and what is asked of them. */
import { gzipSync } from "node:zlib"
import type { Digest, ImageSource } from "@effect-registry/core"
import { Manifest } from "@effect-registry/core"
import { Fixture, TarBytes } from "@effect-registry/testing"
import * as Effect from "effect/Effect"

export type Entry = TarBytes.TarEntry

export interface LayerBytes {
  readonly bytes: Uint8Array
  readonly mediaType: string
  readonly diffId: Digest.Digest
}

export interface Options {
  /** Laid over the config's own settings. */
  readonly config?: Readonly<Record<string, unknown>> | undefined
  /** Of the config; another one than an image's makes an artifact. */
  readonly configType?: string | undefined
  readonly name?: string | undefined
}

export interface Image {
  readonly source: ImageSource
  /** The digests of blobs that were read, in their order. */
  readonly read: Array<Digest.Digest>
  readonly layers: ReadonlyArray<Digest.Digest>
}

export const plain = (tar: Uint8Array): LayerBytes => ({
  bytes: tar,
  mediaType: "application/vnd.oci.image.layer.v1.tar",
  diffId: Fixture.digest(tar)
})

export const gzipped = (tar: Uint8Array): LayerBytes => ({
  bytes: new Uint8Array(gzipSync(tar)),
  mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
  diffId: Fixture.digest(tar)
})

/** An image of these layers, the lowest first. */
export const image = (layers: ReadonlyArray<LayerBytes>, options: Options = {}): Image => {
  const { configType = "application/vnd.oci.image.config.v1+json", name = "test" } = options
  const config = TarBytes.bytes(
    JSON.stringify({
      os: "linux",
      architecture: "amd64",
      ...options.config,
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) }
    })
  )
  const described = layers.map(({ bytes, mediaType }) => Fixture.describeBytes(mediaType, bytes))
  const configDescriptor = Fixture.describeBytes(configType, config)
  const manifest = Manifest.assemble("oci", configDescriptor, described)
  const blobs = new Map([
    [configDescriptor.digest, config],
    ...described.map((descriptor, at) => [descriptor.digest, layers[at]?.bytes ?? new Uint8Array(0)] as const)
  ])
  const read: Array<Digest.Digest> = []
  return {
    read,
    layers: described.map(({ digest }) => digest),
    source: {
      name,
      open: Effect.succeed({
        images: Effect.succeed([
          { root: { _tag: "Manifest" as const, descriptor: manifest.descriptor }, names: [], missingPlatforms: [] }
        ]),
        manifest: () => Effect.succeed(manifest.bytes),
        blob: ({ digest }) =>
          Effect.sync(() => {
            if (digest !== configDescriptor.digest) read.push(digest)
            return { _tag: "Bytes" as const, bytes: blobs.get(digest) ?? new Uint8Array(0) }
          })
      })
    }
  }
}

/** The same from entries. */
export const of = (...layers: ReadonlyArray<ReadonlyArray<Entry>>): Image =>
  image(layers.map((entries) => plain(TarBytes.make(entries))))

export const folder = (name: string, mode?: number): Entry => ({ name, type: "directory", mode })
export const file = (name: string, content: Uint8Array | string = "x", mode?: number): Entry => ({
  name,
  content,
  mode
})
export const hardlink = (name: string, link: string): Entry => ({ name, type: "link", link })
export const symlink = (name: string, link: string): Entry => ({ name, type: "symlink", link })
export const whiteout = (name: string): Entry => {
  const at = name.lastIndexOf("/") + 1
  return { name: `${name.slice(0, at)}.wh.${name.slice(at)}` }
}
export const opaque = (folder: string): Entry => ({ name: folder === "" ? ".wh..wh..opq" : `${folder}/.wh..wh..opq` })
