/** From an address to the store it means. */
import type * as FileSystem from "@effect/platform/FileSystem"
import type * as HttpClient from "@effect/platform/HttpClient"
import type { ImageSource, ImageTarget, RegistryConfig, RegistryError } from "@effect-registry/core"
import { Registry, type ValidationError } from "@effect-registry/core"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { Address } from "./Address.js"
import * as DockerArchive from "./DockerArchive.js"
import * as OciArchive from "./OciArchive.js"
import * as OciLayout from "./OciLayout.js"
import type { TarReadError } from "./TarReadError.js"

type Environment = HttpClient.HttpClient | RegistryConfig.RegistryConfig | FileSystem.FileSystem
type Failure = RegistryError | TarReadError | ValidationError

/** Where the images of an address are read from; `input` is what `-` means, and `options` are for that alone. */
export const source = <E, R>(
  address: Address,
  input: Stream.Stream<Uint8Array, E, R>,
  options: Pick<DockerArchive.StreamOptions, "compress"> = {}
): ImageSource<Failure, Environment | R> => {
  if (address._tag === "Reference") return Registry.image(address.reference)
  if (address._tag === "Standard") return DockerArchive.stream(input, options)
  const chosen = { image: Option.getOrUndefined(address.image) }
  switch (address._tag) {
    case "Archive":
      return DockerArchive.file(address.path, chosen)
    case "OciArchive":
      return OciArchive.file(address.path, chosen)
    case "OciLayout":
      return OciLayout.folder(address.path, chosen)
  }
}

/** Where images are written to. Standard output is none of these: `DockerArchive.pipe` writes to it. */
export const target = (
  address: Exclude<Address, { readonly _tag: "Standard" }>,
  options: DockerArchive.TargetOptions = {}
): ImageTarget<Failure, Environment> => {
  switch (address._tag) {
    case "Reference":
      return Registry.repository({ ...address.reference, tag: Option.none(), digest: Option.none() })
    case "Archive":
    case "OciArchive":
      return DockerArchive.target(address.path, options)
    case "OciLayout":
      return OciLayout.target(address.path, options)
  }
}
