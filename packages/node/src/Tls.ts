/**
 * The certificates of each host, by option and from Docker's folders: `certs.d/HOST[:PORT]/` with authorities (`*.crt`)
 * and client certificates (`NAME.cert` with `NAME.key`). https://docs.docker.com/engine/security/certificates/
 */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { homedir } from "node:os"
import { isAbsolute, join } from "node:path"
import * as NodeTls from "node:tls"
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/** Of one host and port; certificates and keys are PEM. */
export interface HostSettings {
  /** Authorities, trusted beside the usual ones. */
  readonly ca?: string | undefined
  /** The client certificate of `key`; it takes the place of those in the host's folder. */
  readonly cert?: string | undefined
  readonly key?: string | Redacted.Redacted | undefined
  /** Whether any certificate of the host is taken. Default: what `Options.skipVerify` says. */
  readonly skipVerify?: boolean | undefined
}

export interface Options {
  /** A folder with `*.crt`, `*.cert` and `*.key` for whatever registry is called, instead of the folders of `certs.d`. */
  readonly certDir?: string | undefined
  /** By `host[:port]` as in references: for exactly this host and port. */
  readonly hosts?: Readonly<Record<string, HostSettings>> | undefined
  /** The `host[:port]` whose certificate is not verified; `true`: none is. Default: all are. */
  readonly skipVerify?: ReadonlyArray<string> | true | undefined
  /** For HOME, XDG_CONFIG_HOME and NODE_EXTRA_CA_CERTS. Default `process.env`. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
}

/** A certificate or key that cannot be used; nothing was sent. */
export class CertificateError extends Data.TaggedError("CertificateError")<{
  /** The file, folder or option. */
  readonly source: string
  readonly problem: string
  /** What to try, where it helps. */
  readonly hint?: string | undefined
}> {
  /** As Node's errors have one. */
  readonly code = "ERR_TLS_CERT_FILE"
  override get message(): string {
    return `${this.source}: ${this.problem}`
  }
}

export interface Tls {
  /**
   * Whether certificates are configured for the host, by folder or option, or it is named as one whose certificate is
   * not verified: it speaks TLS then, on loopback too.
   */
  readonly hasFolder: (host: string) => boolean
  /**
   * What to connect to `host[:port]` with. `omit` leaves out the client certificates of `certDir`: they are for the
   * registry that is called, not for where it leads to. Those that name the host are always in.
   */
  readonly agentOptions: (
    host: string,
    credentials?: "include" | "omit"
  ) => Either.Either<NodeTls.ConnectionOptions, CertificateError>
}

/** Folders and files are read when a host needs them, and once, unless they failed. */
export const make = (options: Options = {}): Tls => {
  const environment = options.environment ?? process.env
  const folders = new Map<string, string | undefined>()
  const contexts = new Map<string, NodeTls.ConnectionOptions>()

  const folderOf = (host: string): string | undefined => {
    if (options.certDir !== undefined) return options.certDir
    const known = folders.get(host)
    if (known !== undefined || folders.has(host)) return known
    const found = findFolder(environment, host)
    folders.set(host, found)
    return found
  }
  const settingsOf = (host: string): HostSettings | undefined =>
    namesOf(host)
      .map((name) => options.hosts?.[name])
      .find((settings) => settings !== undefined)
  const skipsVerify = (host: string): boolean => {
    const { skipVerify } = options
    return (
      settingsOf(host)?.skipVerify ?? (skipVerify === true || namesOf(host).some((name) => skipVerify?.includes(name)))
    )
  }

  const context = (
    host: string,
    credentials: "include" | "omit"
  ): Either.Either<NodeTls.ConnectionOptions, CertificateError> => {
    const folder = folderOf(host)
    const settings = settingsOf(host)
    const anonymous = credentials === "omit" && options.certDir !== undefined
    // A context takes a megabyte, and a registry can lead to any number of hosts: those without settings share one.
    const key = JSON.stringify([folder, anonymous, settings === undefined ? "" : host])
    const known = contexts.get(key)
    if (known !== undefined) return Either.right(known)
    return Either.gen(function* () {
      const files = folder === undefined ? nothing : yield* readFolder(folder)
      const own = settings === undefined ? nothing : yield* readSettings(host, settings)
      const pairs = own.pairs.length > 0 ? own.pairs : anonymous ? [] : files.pairs
      const made = yield* connectionOptions([...files.authorities, ...own.authorities], pairs, environment)
      contexts.set(key, made)
      return made
    })
  }

  return {
    hasFolder: (host) => {
      const settings = settingsOf(host)
      return (
        settings?.ca !== undefined ||
        settings?.cert !== undefined ||
        (options.skipVerify !== true && skipsVerify(host)) ||
        folderOf(host) !== undefined
      )
    },
    agentOptions: (host, credentials = "include") =>
      Either.map(context(host, credentials), (made) =>
        skipsVerify(host) ? { ...made, rejectUnauthorized: false } : made
      )
  }
}

// internal

interface Pair {
  /** For messages. */
  readonly source: string
  readonly cert: string
  readonly key: string
}

interface Material {
  readonly authorities: ReadonlyArray<string>
  readonly pairs: ReadonlyArray<Pair>
}

const nothing: Material = { authorities: [], pairs: [] }

/** What references may call the host of a URL: Docker Hub's API has a name of its own, and 443 goes without saying. */
const namesOf = (host: string): ReadonlyArray<string> => {
  const name = host.toLowerCase()
  if (name === "registry-1.docker.io") return [name, "docker.io"]
  return /:\d+$/.test(name) ? [name] : [name, `${name}:443`]
}

/** The host comes from a URL that a registry may have handed out: it names a folder, and never leads out of the root. */
const isFolderName = (name: string): boolean => /^[\w[][\w.:[\]-]*$/.test(name)

const findFolder = (environment: Readonly<Record<string, string | undefined>>, host: string): string | undefined => {
  const home = environment.HOME || homedir()
  const config = environment.XDG_CONFIG_HOME
  return [
    join(config !== undefined && isAbsolute(config) ? config : join(home, ".config"), "containers/certs.d"),
    join(home, ".docker/certs.d"),
    "/etc/containers/certs.d",
    "/etc/docker/certs.d"
  ]
    .flatMap((root) =>
      namesOf(host)
        .filter(isFolderName)
        .map((name) => join(root, name))
    )
    .find(isFolder)
}

const isFolder = (path: string): boolean => {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false // not there, or not for this user to know
  }
}

const readFolder = (folder: string): Either.Either<Material, CertificateError> =>
  Either.gen(function* () {
    const names = yield* readSystem(folder, "folder", () => readdirSync(folder).sort())
    const files = new Set(names)
    const authorities: Array<string> = []
    const pairs: Array<Pair> = []
    for (const name of names) {
      const path = join(folder, name)
      const stem = name.replace(/\.[^.]*$/, "")
      if (name.endsWith(".crt")) {
        authorities.push(yield* certificates(path, yield* readText(path)))
      } else if (name.endsWith(".cert")) {
        if (!files.has(`${stem}.key`)) {
          return yield* fail(path, `the key ${stem}.key is missing`, naming)
        }
        const keyPath = join(folder, `${stem}.key`)
        const cert = yield* certificates(path, yield* readText(path))
        const key = yield* privateKey(keyPath, yield* readText(keyPath))
        pairs.push({ source: `${path} with ${stem}.key`, cert, key })
      } else if (name.endsWith(".key") && !files.has(`${stem}.cert`)) {
        return yield* fail(path, `the certificate ${stem}.cert is missing`, naming)
      }
    }
    return { authorities, pairs }
  })

const readSettings = (host: string, { ca, cert, key }: HostSettings): Either.Either<Material, CertificateError> =>
  Either.gen(function* () {
    const source = `the TLS settings of ${host}`
    const authorities = ca === undefined ? [] : [yield* certificates(`${source}, ca`, ca)]
    if (cert === undefined && key === undefined) return { authorities, pairs: [] }
    if (cert === undefined || key === undefined) {
      return yield* fail(source, cert === undefined ? "key without cert" : "cert without key")
    }
    const pair = {
      source: `${source}, cert with key`,
      cert: yield* certificates(`${source}, cert`, cert),
      key: yield* privateKey(`${source}, key`, typeof key === "string" ? key : Redacted.value(key))
    }
    return { authorities, pairs: [pair] }
  })

const connectionOptions = (
  authorities: ReadonlyArray<string>,
  pairs: ReadonlyArray<Pair>,
  environment: Readonly<Record<string, string | undefined>>
): Either.Either<NodeTls.ConnectionOptions, CertificateError> =>
  Either.gen(function* () {
    // One by one first, so that the error names the pair.
    for (const { cert, key, source } of pairs) {
      yield* Either.try({
        try: () => NodeTls.createSecureContext({ cert, key }),
        catch: (cause) => unusablePair(source, cause)
      })
    }
    if (authorities.length === 0 && pairs.length === 0) return {}
    const cert = pairs.map((pair) => pair.cert)
    const secureContext = NodeTls.createSecureContext({
      ...(authorities.length === 0 ? {} : { ca: [...usualAuthorities(environment), ...authorities] }),
      ...(pairs.length === 0 ? {} : { cert, key: pairs.map((pair) => pair.key) })
    })
    // An agent tells its connections apart by `cert`, not by the context.
    return pairs.length === 0 ? { secureContext } : { secureContext, cert }
  })

/** Those of Node, which a list of one's own would replace. */
const usualAuthorities = (environment: Readonly<Record<string, string | undefined>>): ReadonlyArray<string> => {
  // Since Node 22.15 Node tells itself, with the system's where it was told to use them.
  const tls: typeof NodeTls & { readonly getCACertificates?: () => ReadonlyArray<string> } = NodeTls
  if (tls.getCACertificates !== undefined) return tls.getCACertificates()
  const extra = environment.NODE_EXTRA_CA_CERTS
  if (extra === undefined || extra === "") return NodeTls.rootCertificates
  // Node goes on without a file that it cannot read, after a warning of its own.
  return [...NodeTls.rootCertificates, ...Option.toArray(Either.getRight(readText(extra)))]
}

/** The text, if it has a certificate and all that it has are sound: OpenSSL would pass over anything else in silence. */
const certificates = (source: string, pem: string): Either.Either<string, CertificateError> => {
  const blocks = pem.match(/-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END [A-Z0-9 ]+-----/g) ?? []
  const error = new CertificateError({ source, problem: "is no PEM certificate", hint: naming })
  if (blocks.length === 0) return Either.left(error)
  return Either.try({
    try: () => {
      for (const block of blocks) new X509Certificate(block)
      return pem
    },
    // OpenSSL's words are about its own insides.
    catch: () => error
  })
}

/** The text, if it is a key without a passphrase. */
const privateKey = (source: string, pem: string): Either.Either<string, CertificateError> =>
  Either.try({
    try: () => {
      createPrivateKey(pem)
      return pem
    },
    catch: (cause) =>
      codeOf(cause) === "ERR_MISSING_PASSPHRASE"
        ? new CertificateError({
            source,
            problem: "is a private key with a passphrase",
            hint: "take the passphrase off"
          })
        : new CertificateError({ source, problem: "is no private key", hint: naming })
  })

const unusablePair = (source: string, cause: unknown): CertificateError => {
  if (codeOf(cause) === "ERR_OSSL_X509_KEY_VALUES_MISMATCH") {
    return new CertificateError({ source, problem: "the key is not that of the certificate" })
  }
  return new CertificateError({ source, problem: cause instanceof Error ? cause.message : "cannot be used" })
}

const naming = "of the PEM files in the folder, *.crt are authorities, NAME.cert with NAME.key client certificates"

const fail = (source: string, problem: string, hint?: string): Either.Either<never, CertificateError> =>
  Either.left(new CertificateError({ source, problem, hint }))

const readText = (path: string): Either.Either<string, CertificateError> =>
  readSystem(path, "file", () => readFileSync(path, "utf8"))

const readSystem = <A>(path: string, kind: "file" | "folder", read: () => A): Either.Either<A, CertificateError> =>
  Either.try({
    try: read,
    catch: (cause) => {
      const code = codeOf(cause)
      const known = code === "ENOENT" ? `no such ${kind}` : systemWords[code ?? ""]
      return new CertificateError({ source: path, problem: known ?? `cannot be read (${code ?? "unknown error"})` })
    }
  })

const systemWords: Readonly<Record<string, string>> = {
  ENOTDIR: "is no folder",
  EISDIR: "is a folder, not a file",
  EACCES: "permission denied",
  EPERM: "permission denied"
}

const codeOf = (cause: unknown): string | undefined =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined
