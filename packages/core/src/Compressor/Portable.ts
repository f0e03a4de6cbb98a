/** Gzip and zstd in this thread, over streams. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Compressed, Result, Service } from "../Compressor.js"
import * as Hasher from "../Hasher.js"
import type { Algorithm, PlainContent } from "../ImageStore.js"
import type { ValidationError } from "../ValidationError.js"
import * as Blocks from "./Blocks.js"
import * as Encoder from "./Encoder.js"
import * as Form from "./Form.js"
import { gunzip } from "./Gunzip.js"
import { unzstd } from "./Unzstd.js"
import * as Zstd from "./Zstd.js"

/** Encodes where it is called: 5 to 10 milliseconds a block of gzip, 20 to 30 of zstd, between which other fibers run. */
export const portable: Service = {
  name: (algorithm) => Form.of(algorithm).name,
  compress: (algorithm, plain, onBytes) => compress(algorithm, plain, onBytes),
  decompress: (algorithm, compressed, bounds) =>
    algorithm === "zstd" ? unzstd(compressed, bounds) : gunzip(compressed, bounds)
}

// internal

/** One algorithm at work in this thread. */
interface Worker {
  /** Continues the checksum of all plain bytes, where the form needs one. */
  readonly checksum: (block: Uint8Array, crc: number) => number
  /** `undefined` where the block was to be checked and does not decompress to what it was. */
  readonly encode: (block: Uint8Array, check: boolean) => Effect.Effect<Uint8Array | undefined>
}

const compress = <E, R>(
  algorithm: Algorithm,
  plain: PlainContent<E, R>,
  onBytes: (bytes: number) => void
): Compressed<E, R> => {
  const form = Form.of(algorithm)
  let last = Option.none<Result>()
  const stream = Stream.unwrap(
    Effect.gen(function* () {
      const hasher = yield* Hasher.Hasher
      const worker = algorithm === "zstd" ? yield* zstd : gzip()
      const diffId = hasher.make("sha256")
      const digest = hasher.make("sha256")
      let crc = 0
      let diffSize = 0
      let size = 0
      let index = 0
      const written = (bytes: Uint8Array): Uint8Array => {
        digest.update(bytes)
        size += bytes.length
        return bytes
      }
      const encode = (block: Uint8Array): Effect.Effect<Uint8Array, ValidationError> =>
        Effect.suspend(() => {
          onBytes(block.length)
          diffId.update(block)
          diffSize += block.length
          crc = worker.checksum(block, crc)
          const at = index++
          return Effect.flatMap(worker.encode(block, Form.isVerified(at)), (encoded) =>
            encoded === undefined ? Effect.fail(Form.wrongBlock(algorithm, at)) : Effect.succeed(written(encoded))
          )
        })
      const end = Effect.sync(() => {
        const bytes = written(form.trailer(crc, diffSize))
        last = Option.some({ digest: digest.digest(), size, diffId: diffId.digest(), diffSize })
        return bytes
      })
      return Stream.sync(() => written(form.header())).pipe(
        Stream.concat(Stream.mapEffect(Blocks.of(plain, form.blockSize), encode)),
        Stream.concat(Stream.fromEffect(end)),
        Stream.filter((bytes): bytes is Uint8Array => bytes.length > 0)
      )
    })
  )
  return { stream, result: () => last }
}

const gzip = (): Worker => {
  const encoder = Encoder.shared()
  return {
    checksum: encoder.crc32,
    encode: (block, check) =>
      Effect.suspend(() => {
        const deflated = encoder.deflate(block)
        const isRight = check ? inflatesTo(deflated, block) : Effect.as(Effect.yieldNow(), true)
        return Effect.map(isRight, (right) => (right ? deflated : undefined))
      })
  }
}

let sharedZstd: Zstd.Encoder | undefined

const zstd: Effect.Effect<Worker> = Effect.map(Effect.promise(Zstd.module), (module) => {
  sharedZstd ??= Zstd.makeEncoder(module)
  const encoder = sharedZstd
  return {
    checksum: () => 0,
    encode: (block, check) =>
      Effect.zipRight(
        Effect.yieldNow(),
        Effect.sync(() => encoder.compress(block, check))
      )
  }
})

/** Inflates the block by the platform and compares, where the platform can: not every runtime has raw deflate. */
const inflatesTo = (deflated: Uint8Array, block: Uint8Array): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const inflater = makeInflater()
    if (inflater === undefined) return Effect.as(Effect.yieldNow(), true)
    return Effect.tryPromise(() => inflate(deflated, inflater)).pipe(
      Effect.map((plain) => equal(plain, block)),
      Effect.orElseSucceed(() => false)
    )
  })

const makeInflater = (): DecompressionStream | undefined => {
  try {
    return new DecompressionStream("deflate-raw")
  } catch {
    return undefined
  }
}

const inflate = async (deflated: Uint8Array, inflater: DecompressionStream): Promise<Uint8Array> => {
  // the last, empty block of a member ends this one
  const whole = new Blob([deflated as BlobPart, Uint8Array.of(3, 0)])
  return new Uint8Array(await new Response(whole.stream().pipeThrough(inflater)).arrayBuffer())
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
