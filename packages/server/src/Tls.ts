/** Certificate and key for HTTPS, as text or as files that are read again when they change. */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { readFile, stat } from "node:fs/promises"
import type { Server } from "node:https"
import { createSecureContext } from "node:tls"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { ServerError } from "./ServerError.js"

/** PEM texts: the chain, its own certificate first, and the key. */
export interface Pem {
  readonly cert: string
  readonly key: string
}

/** PEM files. A renewed certificate is used for new connections as soon as both files fit together. */
export interface Files {
  readonly certFile: string
  readonly keyFile: string
  /** How often they are looked at. Default 10 seconds. */
  readonly every?: Duration.DurationInput | undefined
}

export type Options = Pem | Files

/** The certificate and key at hand, seen to belong together. Fails with `InvalidCertificate`. */
export const load = (options: Options): Effect.Effect<Pem, ServerError> =>
  Effect.flatMap("cert" in options ? Effect.succeed(options) : readFiles(options), (pem) =>
    Effect.try({
      try: () => {
        createSecureContext({ ...pem })
        return pem
      },
      catch: (cause) => invalid(options, new Error(whatIsWrong(pem) ?? String(cause)))
    })
  )

/** Looks after the files for as long as the scope is open; what cannot be used is logged, and the old stays in use. */
export const watch = (server: Server, options: Options): Effect.Effect<void, never, Scope.Scope> => {
  if ("cert" in options) return Effect.void
  return Effect.gen(function* () {
    let seen = yield* version(options)
    let refused = ""
    const look = Effect.gen(function* () {
      const found = yield* version(options)
      if (found === seen) return
      if (found === refused) return
      refused = found
      const { cert, key } = yield* load(options)
      server.setSecureContext({ cert, key, minVersion })
      seen = found
      yield* Effect.logInfo(`the certificate was read again from ${options.certFile}`)
    }).pipe(Effect.catchAll(({ message }) => Effect.logWarning(`the certificate read before stays in use: ${message}`)))
    const every = Schedule.spaced(Duration.decode(options.every ?? "10 seconds"))
    yield* Effect.forkScoped(Effect.schedule(look, every))
  })
}

/** The oldest version of TLS spoken. */
export const minVersion = "TLSv1.2"

// internal

const readFiles = (files: Files) =>
  Effect.tryPromise({
    try: async (): Promise<Pem> => ({
      cert: await readFile(files.certFile, "utf8"),
      key: await readFile(files.keyFile, "utf8")
    }),
    catch: (cause) => invalid(files, cause)
  })

/** Changes with the files; also where one cannot be read. */
const version = ({ certFile, keyFile }: Files) =>
  Effect.promise(async () => {
    const each = await Promise.all(
      [certFile, keyFile].map((file) =>
        stat(file, { bigint: true }).then(
          ({ ino, mtimeNs, size }) => `${ino} ${mtimeNs} ${size}`,
          () => "none"
        )
      )
    )
    return each.join(" ")
  })

/** OpenSSL's own words name neither file nor reason. */
const whatIsWrong = ({ cert, key }: Pem): string | undefined => {
  const certificate = attempt(() => new X509Certificate(cert))
  if (certificate === undefined) return "the certificate is not PEM"
  if (/^-----BEGIN ENCRYPTED |^Proc-Type:.*ENCRYPTED/m.test(key)) return "the key is encrypted"
  const own = attempt(() => createPrivateKey(key))
  if (own === undefined) return "the key is not PEM"
  return certificate.checkPrivateKey(own) ? undefined : "the key belongs to another certificate"
}

const attempt = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch {
    return undefined
  }
}

const invalid = (options: Options, cause: unknown) =>
  new ServerError({
    reason: "InvalidCertificate",
    subject: "cert" in options ? "the certificate given" : `${options.certFile} and ${options.keyFile}`,
    cause
  })
