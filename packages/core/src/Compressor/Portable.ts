/** Gzip in this thread, over streams. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Result, Service } from "../Compressor.js"
import * as Hasher from "../Hasher.js"
import type { PlainContent } from "../ImageStore.js"
import type { ValidationError } from "../ValidationError.js"
import * as Encoder from "./Encoder.js"
import * as Gzip from "./Gzip.js"

/** Encodes where it is called: 5 to 10 milliseconds a block, between which other fibers run. */
export const portable: Service = {
  name: Gzip.name,
  gzip: <E, R>(plain: PlainContent<E, R>, onBytes: (bytes: number) => void) => {
    let last = Option.none<Result>()
    const stream = Stream.unwrap(
      Effect.map(Hasher.Hasher, (hasher): Stream.Stream<Uint8Array, E | ValidationError, R> => {
        const encoder = Encoder.shared()
        const diffId = hasher.make("sha256")
        const digest = hasher.make("sha256")
        let crc = 0
        let diffSize = 0
        let size = 0
        let index = 0
        const counted = (bytes: Uint8Array): Uint8Array => {
          digest.update(bytes)
          size += bytes.length
          return bytes
        }
        const encode = (block: Uint8Array): Effect.Effect<Uint8Array, ValidationError> =>
          Effect.suspend(() => {
            onBytes(block.length)
            diffId.update(block)
            diffSize += block.length
            crc = encoder.crc32(block, crc)
            const deflated = encoder.deflate(block)
            const at = index++
            const checked = Gzip.isVerified(at) ? verify(at, deflated, block) : Effect.yieldNow()
            return Effect.as(checked, counted(deflated))
          })
        const end = Effect.sync(() => {
          const bytes = counted(Gzip.trailer(crc, diffSize))
          last = Option.some({ digest: digest.digest(), size, diffId: diffId.digest(), diffSize })
          return bytes
        })
        return Stream.sync(() => counted(Gzip.header())).pipe(
          Stream.concat(Stream.mapEffect(Gzip.blocks(plain), encode)),
          Stream.concat(Stream.fromEffect(end))
        )
      })
    )
    return { stream, result: () => last }
  }
}

// internal

/** Inflates the block by the platform and compares, where the platform can: not every runtime has raw deflate. */
const verify = (index: number, deflated: Uint8Array, block: Uint8Array): Effect.Effect<void, ValidationError> =>
  Effect.suspend(() => {
    const inflater = makeInflater()
    if (inflater === undefined) return Effect.yieldNow()
    return Effect.tryPromise(() => inflate(deflated, inflater)).pipe(
      Effect.orElseSucceed(() => undefined),
      Effect.filterOrFail(
        (plain) => plain !== undefined && equal(plain, block),
        () => Gzip.wrongBlock(index)
      ),
      Effect.asVoid
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
