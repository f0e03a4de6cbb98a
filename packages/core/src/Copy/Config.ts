/** The configuration of an image that a reader holds, where more has to be known of it than its digest. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { collect } from "../BlobTransport.js"
import type { ImageReader } from "../ImageStore.js"
import type { Descriptor } from "../model/Descriptor.js"
import * as Digest from "../model/Digest.js"
import * as ImageConfig from "../model/ImageConfig.js"
import * as Manifest from "../model/Manifest.js"
import { ValidationError } from "../ValidationError.js"

/** Decoded and verified. Fails with `TooLarge`, `DigestMismatch`, `InvalidDescriptor` or `InvalidImageConfig`. */
export const readImageConfig = <E, R>(
  subject: string,
  reader: Pick<ImageReader<E, R>, "blob">,
  config: Descriptor
): Effect.Effect<ImageConfig.ImageConfig, ValidationError | E, R> =>
  Effect.gen(function* () {
    if (config.size > ImageConfig.maxSize) {
      const message = `its config has ${config.size} bytes, at most ${ImageConfig.maxSize} are read`
      return yield* Effect.fail(ValidationError.of("TooLarge", subject, message))
    }
    const inline = yield* Manifest.inlineData(config, `${subject} ${config.digest}`)
    const bytes = Option.isSome(inline) ? inline.value : (yield* collect(yield* reader.blob(config))).bytes
    const digest = Digest.fromBytes(bytes, Digest.algorithm(config.digest))
    if (digest !== config.digest) {
      const message = `its config ${config.digest} has the digest ${digest}`
      return yield* Effect.fail(ValidationError.of("DigestMismatch", subject, message))
    }
    return yield* ImageConfig.decode(bytes, `${subject} config ${config.digest}`)
  })
