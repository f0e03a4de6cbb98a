/** Looking for blobs, and reading small ones. https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-blobs */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Hasher from "../Hasher.js"
import * as Digest from "../model/Digest.js"
import type { RegistryError } from "../RegistryError.js"
import * as Client from "./Client.js"
import * as Exchange from "./Exchange.js"
import * as Failure from "./Failure.js"
import * as Retry from "./Retry.js"

/** Whether it is there, and its size where the registry tells. A registry without HEAD knows nothing. */
export const head = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest
): Effect.Effect<Option.Option<{ readonly size: Option.Option<number> }>, RegistryError> => {
  const call = {
    ...callOf(client, repository, digest, "look for blob", "HEAD"),
    accept: [200, 404, 405, 501]
  }
  return Retry.exchange(client, call, ({ headers, status }) => {
    const length = headers["content-length"]
    return Effect.succeed(
      status === 200
        ? Option.some({
            size: length !== undefined && /^\d+$/.test(length) ? Option.some(Number(length)) : Option.none()
          })
        : Option.none()
    )
  })
}

/** Whether it can be read, also from a registry without HEAD. */
export const exists = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest
): Effect.Effect<boolean, RegistryError> =>
  Retry.exchange(
    client,
    { ...callOf(client, repository, digest, "look for blob", "HEAD"), accept: [200, 404, 405, 501] },
    ({ status }) => Effect.succeed(status)
  ).pipe(
    Effect.flatMap((status) =>
      status === 405 || status === 501
        ? Retry.exchange(
            client,
            { ...callOf(client, repository, digest, "look for blob", "GET"), accept: [200, 404] },
            (response) => Effect.succeed(response.status === 200)
          )
        : Effect.succeed(status === 200)
    )
  )

/** As `head`, also at a registry without HEAD. */
export const describe = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest
): Effect.Effect<Option.Option<{ readonly size: Option.Option<number> }>, RegistryError> => {
  const ask = (method: "GET" | "HEAD", accept: ReadonlyArray<number>) =>
    Retry.exchange(
      client,
      { ...callOf(client, repository, digest, "look for blob", method), accept },
      ({ headers, status }) => Effect.succeed({ status, length: headers["content-length"] ?? "" })
    )
  return Effect.gen(function* () {
    const first = yield* ask("HEAD", [200, 404, 405, 501])
    const { length, status } = first.status === 405 || first.status === 501 ? yield* ask("GET", [200, 404]) : first
    if (status === 404) return Option.none()
    return Option.some({ size: /^\d+$/.test(length) ? Option.some(Number(length)) : Option.none() })
  })
}

/** Fails with `NotFound` where it cannot be read. */
export const find = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest
): Effect.Effect<void, RegistryError> =>
  Effect.flatMap(exists(client, repository, digest), (isThere) =>
    isThere
      ? Effect.void
      : Effect.fail(Failure.make(callOf(client, repository, digest, "look for blob", "HEAD"), "NotFound"))
  )

/** The whole blob, verified; read again after a fault. For configs: more than `limit` bytes fail with `TooLarge`. */
export const bytes = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  size: Option.Option<number>,
  limit: number
): Effect.Effect<Uint8Array, RegistryError> => {
  const call = callOf(client, repository, digest, "get blob", "GET")
  return Retry.exchange(client, call, (response) =>
    Effect.gen(function* () {
      yield* checkLength(call, response, size)
      const read = yield* Exchange.bytes(client, call, response, limit)
      const hash = (yield* Hasher.Hasher).make(Digest.algorithm(digest))
      hash.update(read)
      yield* verify(call, { digest, size }, { digest: hash.digest(), size: read.length })
      return read
    })
  )
}

/** A request for a blob; `verb` says what for. */
export const callOf = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest,
  verb: string,
  method: "GET" | "HEAD"
): Exchange.Call => ({
  operation: `${verb} ${Client.nameOf(client, repository)}@${digest}`,
  method,
  url: Client.urlOf(client, `${repository}/blobs/${digest}`),
  accept: [200]
})

/** Fails where the registry announces another size. */
export const checkLength = (
  call: Exchange.Call,
  { headers, status }: Exchange.Response,
  size: Option.Option<number>
) => {
  const length = headers["content-length"]
  if (length === undefined || Option.isNone(size) || Number(length) === size.value) return Effect.void
  const detail = `expected ${size.value} bytes, the registry has ${length}`
  return Effect.fail(Failure.make(call, "SizeMismatch", { status, detail }))
}

/** Fails where what came is not what was asked for. */
export const verify = (
  call: Exchange.Call,
  expected: { readonly digest: Digest.Digest; readonly size: Option.Option<number> },
  received: { readonly digest: Digest.Digest; readonly size: number }
): Effect.Effect<void, RegistryError> => {
  if (Option.isSome(expected.size) && received.size !== expected.size.value) {
    const detail = `expected ${expected.size.value} bytes, got ${received.size}`
    return Effect.fail(Failure.make(call, "SizeMismatch", { detail }))
  }
  if (received.digest !== expected.digest) {
    const detail = `expected ${expected.digest}, the bytes are ${received.digest}`
    return Effect.fail(Failure.make(call, "DigestMismatch", { detail }))
  }
  return Effect.void
}
