/** From the words that name images to the stores they mean. */
import { createReadStream } from "node:fs"
import * as FileSystem from "@effect/platform/FileSystem"
import * as NodeStream from "@effect/platform-node/NodeStream"
import {
  type Algorithm,
  type ImageSource,
  type ImageTarget,
  Reference,
  type RegistryError,
  type ValidationError
} from "@effect-registry/core"
import { Address, DockerArchive, Store, TarReadError } from "@effect-registry/tar"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import { UsageError } from "./exit.js"
import { Output } from "./output.js"
import type { Services } from "./perform.js"
import { Stdio, type StdoutClosed } from "./stdio.js"

export type Failure = RegistryError | TarReadError | ValidationError

/** References may be written as skopeo does, `docker://HOST/REPOSITORY`. */
export const withoutScheme = (reference: string): string => reference.replace(/^docker:\/\//, "")

/** Whether `-` stands here, or one of its names. */
export const isStandard = (text: string): boolean => text === "-" || text === "/dev/stdin" || text === "/dev/stdout"

/** What an address means, with a note where a file of that name is passed over. */
export const parse = (text: string): Effect.Effect<Address.Address, ValidationError, FileSystem.FileSystem | Output> =>
  Effect.gen(function* () {
    const address = yield* Address.parse(text)
    if (address._tag !== "Reference") return address
    const fs = yield* FileSystem.FileSystem
    const output = yield* Output
    if (yield* Effect.orElseSucceed(fs.exists(text), () => false)) {
      yield* output.note(`${text} is taken for a reference; write ./${text} for the file`)
    }
    return address
  })

/** Where images are read from; `compress` is what becomes of the layers of a pipe while they arrive. */
export const source = (
  address: Address.Address,
  compress: Algorithm | "none" = "none"
): Effect.Effect<ImageSource<Failure, Services>, UsageError, Stdio | FileSystem.FileSystem> =>
  Effect.gen(function* () {
    const stdio = yield* Stdio
    if (address._tag === "Archive" && (yield* isPipe(address.path))) {
      // What a shell hands over as <(docker save app).
      const { image, path } = address
      return DockerArchive.stream(
        input(path, () => createReadStream(path)),
        { name: path, image: Option.getOrUndefined(image), compress }
      )
    }
    if (address._tag === "Standard" && stdio.inputIsTerminal) {
      return yield* Effect.fail(
        new UsageError({
          what: "standard input",
          why: "is a terminal, not an archive",
          hint: "docker save app:1.0 | ereg push - HOST/REPOSITORY:TAG"
        })
      )
    }
    return Store.source(address, input("standard input", stdio.input), { compress })
  })

/** An archive or layout; a reference is refused with what was probably meant. */
export const archive = (command: string, text: string) =>
  Effect.gen(function* () {
    const address = yield* Address.parse(text)
    if (address._tag !== "Reference") return address
    const fs = yield* FileSystem.FileSystem
    const exists = yield* Effect.orElseSucceed(fs.exists(text), () => false)
    return yield* Effect.fail(
      new UsageError({
        what: `ereg ${command}`,
        why: `${JSON.stringify(Reference.masked(text))} is a reference, and an archive is wanted`,
        hint: exists
          ? `for the file or folder write ./${text}`
          : "app.tar, ./FILE, docker-archive:PATH, oci:DIR, oci-archive:PATH or -"
      })
    )
  })

/**
 * The tags that a target's address asks for, `oci:DIR:1.0`: none where it names no image. A whole name is refused: an image
 * keeps its repository.
 */
export const tagsOf = (address: Address.Address): Effect.Effect<ReadonlyArray<string> | undefined, UsageError> => {
  if (address._tag === "Reference" || address._tag === "Standard" || Option.isNone(address.image)) {
    return Effect.succeed(undefined)
  }
  const image = address.image.value
  if (typeof image === "string" && Reference.isTag(image)) return Effect.succeed([image])
  return Effect.fail(
    new UsageError({
      what: Address.format(address),
      why: "an image that is written keeps its repository; only a tag can be given here",
      hint: `for example ${Address.format({ ...address, image: Option.some("1.0") })}`
    })
  )
}

/**
 * Runs `write` with the archive or layout of an address as its target. Standard output gets the archive while it is made;
 * one that failed on the way has no end.
 */
export const withTarget = <A, E>(
  address: Exclude<Address.Address, { readonly _tag: "Reference" }>,
  options: DockerArchive.TargetOptions,
  write: (target: ImageTarget<Failure | StdoutClosed, Services>) => Effect.Effect<A, E, Services>
) =>
  address._tag === "Standard"
    ? Effect.gen(function* () {
        const { outputIsTerminal } = yield* Stdio
        if (outputIsTerminal) return yield* Effect.fail(terminalOutput)
        const { bytes } = yield* Output
        return yield* write(DockerArchive.pipe(bytes, { platform: options.platform }))
      })
    : write(Store.target(address, options))

// internal

const terminalOutput = new UsageError({
  what: "standard output",
  why: "is a terminal, which an archive is nothing for",
  hint: "ereg pull REF - | docker load, or name a file: app.tar"
})

const isPipe = (path: string): Effect.Effect<boolean, never, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.stat(path)).pipe(
    Effect.map(({ type }) => type === "FIFO" || type === "CharacterDevice" || type === "Socket"),
    // What is wrong with the path is told by whoever opens it.
    Effect.orElseSucceed(() => false)
  )

const input = (name: string, readable: () => NodeJS.ReadableStream): Stream.Stream<Uint8Array, TarReadError> =>
  NodeStream.fromReadable<TarReadError, Uint8Array>(
    readable,
    (cause) => new TarReadError({ reason: "Io", path: name, detail: String(cause), cause })
  )
